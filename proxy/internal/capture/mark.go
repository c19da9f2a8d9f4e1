package capture

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Spare marks a socket as the sidecar's own, so that it is not captured. It needs the privilege to do so.
func Spare(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, Mark) })
	if err != nil {
		return err
	}
	return failed
}
