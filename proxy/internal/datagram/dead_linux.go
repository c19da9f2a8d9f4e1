package datagram

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// deadAfter is how long a stream's other end may leave what was sent to it without an answer.
const deadAfter = 10 * time.Second

// DetectDead lets the kernel end a TCP connection whose other end has gone without a word: TCP alone would try again for a
// quarter of an hour, and the sender of datagrams would never know.
func DetectDead(conn net.Conn) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // only a kernel that is too old refuses; it keeps its own limit
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(deadAfter.Milliseconds()))
	})
}
