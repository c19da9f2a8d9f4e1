package loop

import (
	"errors"
	"fmt"
	"io"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Conn is a socket that never blocks. What the kernel does not take at once is kept and sent when there is room.
type Conn struct {
	// FD is the socket.
	FD int

	loop    *Loop
	pending []byte
}

// Dial connects to an address on this machine, from a source address that the caller chooses (so that many short connections
// do not run out of ports), and watches the connection.
func (l *Loop) Dial(to, from netip.AddrPort, h Handler) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if from.IsValid() {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // only spares ports
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: from.Addr().As4(), Port: int(from.Port())}); err != nil {
			unix.Close(fd)
			return nil, fmt.Errorf("bind %s: %w", from, err)
		}
	}
	// On loopback this returns at once: the kernel shakes hands with the listener in the same call.
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect %s: %w", to, err)
	}
	return l.adopt(fd, h)
}

// Accept takes the next connection of a listening socket; nil when there is none. make gives it its handler.
func (l *Loop) Accept(listener int, make func(*Conn) Handler) (*Conn, error) {
	fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EINTR):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("accept: %w", err)
	}
	c := &Conn{FD: fd, loop: l}
	return c, c.watch(make(c))
}

func (l *Loop) adopt(fd int, h Handler) (*Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("set non-blocking: %w", err)
	}
	c := &Conn{FD: fd, loop: l}
	return c, c.watch(h)
}

func (c *Conn) watch(h Handler) error {
	if err := unix.SetsockoptInt(c.FD, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		unix.Close(c.FD)
		return fmt.Errorf("TCP_NODELAY: %w", err)
	}
	if err := c.loop.Add(c.FD, h); err != nil {
		unix.Close(c.FD)
		return err
	}
	return nil
}

// Read reads what there is: 0 and no error when there is nothing, io.EOF at the end.
func (c *Conn) Read(into []byte) (int, error) {
	n, err := unix.Read(c.FD, into)
	switch {
	case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("read: %w", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write sends, or keeps a copy of what does not fit now.
func (c *Conn) Write(data []byte) error {
	if len(c.pending) > 0 {
		c.pending = append(c.pending, data...)
		return nil
	}
	n, err := c.Send(data)
	if err != nil || n == len(data) {
		return err
	}
	c.pending = append(c.pending[:0], data[n:]...)
	return c.loop.Watch(c.FD, true)
}

// Send sends what fits and keeps nothing.
func (c *Conn) Send(data []byte) (int, error) {
	n, err := unix.Write(c.FD, data)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("write: %w", err)
	}
	return n, nil
}

// Flush sends what is kept. A handler calls it when there is room.
func (c *Conn) Flush() error {
	if len(c.pending) == 0 {
		return nil
	}
	n, err := c.Send(c.pending)
	if err != nil {
		return err
	}
	c.pending = append(c.pending[:0], c.pending[n:]...)
	if len(c.pending) > 0 {
		return nil
	}
	return c.loop.Watch(c.FD, false)
}

// Room asks to be told when there is room to write.
func (c *Conn) Room(wanted bool) error { return c.loop.Watch(c.FD, wanted) }

// Close ends the connection.
func (c *Conn) Close() { c.loop.Drop(c.FD) }
