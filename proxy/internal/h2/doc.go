// Package h2 is the engine for HTTP/2 and gRPC: it stands between one client's connection and pooled connections to
// endpoints, and relays streams frame by frame. In come a connection that is known to speak HTTP/2 and a Decide function, by
// which the assembly (inbound or outbound) walks its stages for each request; out goes one flow.Record for each request.
//
// The parts: conn owns a socket, its frames, windows and queues, on either side; exchange owns one request with all its
// tries; pool owns the connections to endpoints; Server ties them together. Locks are taken in this order only: exchange,
// then pool, then one conn. A conn never calls an exchange while it holds its own lock.
//
// Bytes are credited to their sender only when they have left for the other side, so memory is bounded by the windows that
// are advertised, whatever a slow peer does. Each connection has one goroutine that reads and one that writes; what one
// batch of reads produced leaves in one write.
//
// The engine must never know policy, discovery or TLS; it must never turn HTTP/2 into HTTP/1.1 or back; and it must never
// replay a request unless that is provably harmless.
package h2
