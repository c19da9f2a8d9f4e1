//go:build unix

package wire

import (
	"net"
	"syscall"
)

// Stale says whether an idle connection is of no use: the other end closed it, or sent what nobody asked for. It looks at the
// socket without taking anything, also below TLS, where an idle connection has nothing to say but goodbye.
func (c *Conn) Stale() bool {
	if c.buf != nil || c.layer != nil && c.layer.Held() {
		return true
	}
	if c.peek == nil {
		c.peek = rawConn(c.nc)
		if c.peek == nil {
			return false // not a socket: the next write or read tells
		}
	}
	return readable(c.peek)
}

// readable says whether a socket has bytes, its end or an error to tell, without taking them.
func readable(raw syscall.RawConn) bool {
	stale := true
	err := raw.Control(func(fd uintptr) {
		errno := peek(fd)
		stale = errno != syscall.EAGAIN && errno != syscall.EINTR
	})
	return err != nil || stale
}

func rawConn(nc net.Conn) syscall.RawConn {
	if under, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = under.NetConn()
	}
	sock, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sock.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}
