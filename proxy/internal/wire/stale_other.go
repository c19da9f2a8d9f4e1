//go:build !unix

package wire

import (
	"net"
	"syscall"
)

// Stale says whether an idle connection is of no use. Without a way to look, the next write or read tells.
func (c *Conn) Stale() bool { return c.buf != nil }

func rawConn(net.Conn) syscall.RawConn { return nil }

func readable(syscall.RawConn) bool { return false }

// Left says whether the other end has left. Without a way to look, the next write tells.
func (c *Conn) Left() (ended, broken bool) { return false, false }
