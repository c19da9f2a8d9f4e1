package loop

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

const backlog = 4096

// Listen opens a listening socket and has the handler told of connections to accept.
func (l *Loop) Listen(at netip.AddrPort, accept func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())})
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err == nil {
		err = l.Add(fd, listener{fd, accept})
	}
	if err != nil {
		unix.Close(fd)
		return fmt.Errorf("listen on %s: %w", at, err)
	}
	return nil
}

type listener struct {
	fd     int
	accept func(fd int) error
}

func (l listener) Ready(uint32) error { return l.accept(l.fd) }
