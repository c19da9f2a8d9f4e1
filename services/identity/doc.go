// Package identity is the trust domain: it decides who is who, issues X.509-SVIDs, hands out the bundle, and keeps the tokens
// of administrators and of those who join.
//
// In come CSRs with a proof (a join token, or the SVID that is to be renewed) and administrators' calls; out go SVIDs and
// bundles, to sidecars, to the control plane's services, and to the distributor as the source "identity". Everything shared
// lies in the service's own part of the store, so that any replica answers any call:
//
//	roots/default/<sha256>       certificates of the authorities; the bundle is their union
//	issuers/default/<sha256>     the authorities that may sign, because everybody has them
//	jointokens/default/<id>      hashes of join tokens that nobody has redeemed yet
//	admintokens/default/<id>     hashes of the tokens of those who call the gateway, with their roles
//	rolebindings/default/<name>  roles of those who have other credentials
//
// It must never hand an SVID to anyone who has not proved who they are, sign by a root that the mesh does not have yet, or put
// a private key or a secret anywhere but into its own data directory.
package identity
