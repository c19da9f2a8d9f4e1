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
