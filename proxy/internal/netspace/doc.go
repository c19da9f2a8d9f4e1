// Package netspace opens sockets where the program is. A sidecar whose program has a network namespace of its own stays on the
// host and only faces the program from inside that namespace: listeners for what the program sends, dials to what it serves.
//
// In comes a namespace (a file descriptor that whoever made it passes on) or nothing, which means the sidecar's own; out go
// ordinary listeners and connections. A socket belongs to the namespace of the thread that made it, for its whole life, so
// only its making needs a thread in there.
package netspace
