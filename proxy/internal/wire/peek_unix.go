//go:build unix && (!linux || race || plainio)

package wire

import (
	"errors"
	"syscall"
)

// peek looks at a socket: EAGAIN when it has nothing to tell.
func peek(fd uintptr) (int, syscall.Errno) {
	var one [1]byte
	n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	errno, _ := errors.AsType[syscall.Errno](err)
	return n, errno
}
