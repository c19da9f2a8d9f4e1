// Package h1 reads and writes HTTP/1.1: a strict parser that notes offsets into the caller's buffer instead of building maps,
// a composer that writes the next hop's head, and a decoder and encoder of bodies.
//
// In come bytes of one complete head, or pieces of a body; out go views into them and the bytes to forward. It does no
// I/O and keeps no connection. What two parsers could read differently is refused, never repaired, and nothing is forwarded
// that was not parsed: framing is always written anew. After the first use of a Request or Response nothing is allocated.
package h1
