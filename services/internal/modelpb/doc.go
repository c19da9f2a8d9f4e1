// Package modelpb translates between the model and the messages on the wire. It is the only package that sees both.
//
// From wire to model: XFromProto checks what the model's types cannot express (unknown enum values, addresses, ports above
// 65535) and reports it as an Invalid fault with field paths; rules of the model are Validate's. An empty namespace becomes
// "default". From model to wire: XToProto never fails. Model to wire to model gives the same value.
//
// It must never do I/O, log, or know which service it serves.
package modelpb
