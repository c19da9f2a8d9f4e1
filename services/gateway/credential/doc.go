// Package credential finds out who calls the gateway: it verifies what a caller presents (a bearer token of this mesh, a token of
// an OIDC issuer, an SVID) and asks identity which roles its holder has.
//
// What identity confirmed is believed for five seconds, so that a token or binding that was revoked stops working everywhere
// within that time. Calls that only read are served by what was confirmed earlier while identity or its store is away, for at
// most ten minutes. Secrets are never kept: what is remembered is named by a hash.
package credential
