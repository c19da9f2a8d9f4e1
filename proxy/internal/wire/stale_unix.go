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

// Left says whether the other end has ended its direction, or broken the connection altogether. Any goroutine may ask, at a time
// when nothing but that is expected from the other end. Below TLS all that it could say then is goodbye.
func (c *Conn) Left() (ended, broken bool) {
	raw := rawConn(c.nc)
	if raw == nil {
		return false, false
	}
	n, errno := look(raw)
	switch {
	case silent(errno):
		return false, false
	case errno != 0:
		return false, true
	}
	return n == 0 || c.layer != nil, false
}

// readable says whether a socket has bytes, its end or an error to tell.
func readable(raw syscall.RawConn) bool {
	_, errno := look(raw)
	return !silent(errno)
}

// look finds what can be read, without waiting for it and without taking it.
func look(raw syscall.RawConn) (n int, errno syscall.Errno) {
	if err := raw.Control(func(fd uintptr) { n, errno = peek(fd) }); err != nil {
		return 0, syscall.EBADF // it has been closed
	}
	return n, errno
}

// silent says that there was nothing to be read yet.
func silent(errno syscall.Errno) bool { return errno == syscall.EAGAIN || errno == syscall.EINTR }

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
