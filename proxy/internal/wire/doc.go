// Package wire is the only place where the proxy's engines touch sockets: connections with a read buffer that is held only
// while there is something in it, pooled buffers in three sizes, and coarse deadlines.
//
// In comes a net.Conn (plain or mesh); out goes a Conn, whose Turn (write, then wait and read) is the seam behind which a
// faster way to do I/O can replace this plain one. It knows no protocol and must never keep a buffer of an idle connection,
// nor set a deadline for each read: the Sweeper does that for all connections, a few times a second.
package wire
