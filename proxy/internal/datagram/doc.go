// Package datagram carries UDP: it turns what one client sends to one destination into a session, and moves a session's
// datagrams to its other end and back, over a stream between two sidecars or over a socket in plaintext.
//
// In come datagrams with their sender and original destination (Packets) or streams from another sidecar; out go replies, and
// one flow.Record for each session. inbound and outbound decide where a session goes and who may have it; this package
// only moves bytes. It never waits for a slow receiver on behalf of others, and what cannot be moved now is dropped and counted
// rather than kept without bound.
//
// # The mesh hop
//
// A session is one TLS connection to the mesh port with ALPN "weft-udp/1"; SNI says which service and port, as for TCP. Each
// datagram is a frame in either direction:
//
//	length, 2 bytes, most significant first: 0 to 65,507
//	payload, length bytes
//
// Length 65,535 is a sidecar's last word instead of a datagram: one byte n, then n bytes that name the reason (flow.Reason)
// for which the session ends early; none for a regular end. A stream that ends without a last word has broken. Other
// lengths are errors and end the session. The order of datagrams is kept: the hop is a byte stream.
package datagram
