package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// file is the name of the socket in a sidecar's state directory.
const file = "control.sock"

// network keeps the borders of messages.
const network = "unixpacket"

// Listener takes conversations. It does not remove the socket's file: that may belong to the next process by then.
type Listener struct {
	l *net.UnixListener
}

// Listen opens the control socket of a state directory, which the caller has to itself; a file that an earlier process left
// behind is replaced.
func Listen(dir string) (*Listener, error) {
	l := &Listener{}
	err := in(dir, func(path string) (err error) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		l.l, err = net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("control socket of %s: %w", dir, err)
	}
	l.l.SetUnlinkOnClose(false)
	return l, nil
}

// Inherit makes a listener of an open socket, and closes the file.
func Inherit(f *os.File) (*Listener, error) {
	defer f.Close()
	nl, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, ok := nl.(*net.UnixListener)
	if !ok {
		nl.Close()
		return nil, errors.New("control socket: it is not a Unix socket")
	}
	l.SetUnlinkOnClose(false)
	return &Listener{l}, nil
}

// Accept waits for the next conversation.
func (l *Listener) Accept() (*Conn, error) {
	c, err := l.l.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return &Conn{c}, nil
}

// SyscallConn is for handing the socket over.
func (l *Listener) SyscallConn() (syscall.RawConn, error) { return l.l.SyscallConn() }

// Close ends Accept.
func (l *Listener) Close() error { return l.l.Close() }

// ErrNobody says that no sidecar runs with a state directory.
var ErrNobody = errors.New("no sidecar runs with this state directory")

// Dial begins a conversation with the sidecar that has a state directory. The error is ErrNobody when there is none.
func Dial(ctx context.Context, dir string) (*Conn, error) {
	var c *Conn
	err := in(dir, func(path string) error {
		var d net.Dialer
		nc, err := d.DialContext(ctx, network, path)
		if err == nil {
			c = &Conn{nc.(*net.UnixConn)}
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		err = ErrNobody
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return c, nil
}

// in calls f with a path of the socket that is short enough for every address of a Unix socket (108 bytes), whatever the
// directory is called.
func in(dir string, f func(path string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	raw, err := d.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(filepath.Join("/proc/self/fd", fmt.Sprint(fd), file)) }); err != nil {
		return err
	}
	return inner
}
