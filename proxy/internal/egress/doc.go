// Package egress is the stage that decides what a program may call outside of the mesh, and what such a destination is called.
//
// In come a destination and, when that does not decide it, the host that the client's first bytes name: the server name of a
// TLS ClientHello or the Host of an HTTP/1 request. Out goes a decision. It is pure. A host that is allowed says nothing about
// the address that the client claims for it: whoever lets a connection pass because of its host has to resolve that host
// himself, so that a name that is not true leads to nobody but its owner.
package egress
