// Package svid keeps the sidecar's identity: it makes the private key, redeems the join token, renews the SVID before it ends
// and takes in new trust bundles. Out goes a spiffe.Source that everything with TLS reads, and the files from which the next
// process starts while the control plane is away.
//
// It must never let the private key leave the process and the state directory, and never take an SVID from a server that it
// has not verified: with a join token by the hashes of the authorities that it carries, afterwards by the trust bundle.
package svid
