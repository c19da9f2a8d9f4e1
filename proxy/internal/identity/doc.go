// Package identity is the stage that proves who is at the other end: it turns a TCP connection into a mesh connection whose
// peer has a verified SPIFFE ID.
//
// In come raw connections, the identity source and, for clients, the endpoint whose ID is expected; out come TLS 1.3
// connections with ALPN (which engine speaks) and, for servers, the service and target port that the client named by SNI.
// The peer is verified in VerifyConnection, so also on resumed sessions, and sessions end with the SVID or bundle that
// they were made under. It decides nothing about what the peer may do, and it must never fall back to plaintext by itself:
// only the mesh's mTLS mode allows that, and only to endpoints that have no sidecar (or in mode off).
package identity
