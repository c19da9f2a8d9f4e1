// Package ca is what identity needs of a certificate authority, whoever keeps the key: sign a public key as a SPIFFE ID, and
// name the authorities that this is verified by. Back ends are packages below; all of them pass the suite in catest.
//
// An Authority decides nothing about who may have which identity and knows nothing of the mesh: whoever calls Sign has
// checked that already.
package ca
