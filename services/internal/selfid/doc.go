// Package selfid gets the control plane's services their own SVIDs and keeps them fresh. In goes an Issuer: identity itself
// when it runs in this process, else the identity service over RPC, reached at first by a join token. Out come a
// spiffe.Source that always holds a valid SVID with the current bundle and, for a process without identity, files in the
// data directory from which it restarts while identity is down.
//
// Keys are made here and never leave the process other than into those files (0600 in a directory 0700). The package never
// trusts an identity service whose root the join token does not name.
package selfid
