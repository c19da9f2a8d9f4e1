package netspace

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// own is the namespace of the calling thread.
const own = "/proc/thread-self/ns/net"

// Space is a network namespace. The zero value is the process's own; it is safe for use by many goroutines.
type Space struct {
	ns *os.File
}

// Own is the namespace of the process.
func Own() *Space { return &Space{} }

// Inherited is the namespace behind a file descriptor that the process was started with.
func Inherited(fd uintptr) (*Space, error) {
	f := os.NewFile(fd, "program's network namespace")
	if f == nil {
		return nil, fmt.Errorf("network namespace: %d is no file descriptor", fd)
	}
	if _, err := f.Stat(); err != nil {
		f.Close()
		return nil, fmt.Errorf("network namespace: file descriptor %d: %w", fd, err)
	}
	unix.CloseOnExec(int(fd))
	return &Space{ns: f}, nil
}

// Separate says that the namespace is not the process's own.
func (s *Space) Separate() bool { return s.ns != nil }

// Control sets options on a socket before it is bound or connected.
type Control func(network, address string, c syscall.RawConn) error

// Listen opens a stream listener in the namespace. control may be nil.
func (s *Space) Listen(ctx context.Context, address string, control Control) (ln net.Listener, err error) {
	lc := net.ListenConfig{Control: control}
	lc.SetMultipathTCP(false) // its sockets do not tell the original destination
	err = s.Within(func() (err error) {
		ln, err = lc.Listen(ctx, "tcp", address)
		return err
	})
	return ln, err
}

// ListenPacket opens a datagram socket in the namespace. control may be nil.
func (s *Space) ListenPacket(ctx context.Context, network, address string, control Control) (pc net.PacketConn, err error) {
	lc := net.ListenConfig{Control: control}
	err = s.Within(func() (err error) {
		pc, err = lc.ListenPacket(ctx, network, address)
		return err
	})
	return pc, err
}

// Dial connects from inside the namespace. The dialer must need no name resolution: the address is an IP address and a port.
func (s *Space) Dial(ctx context.Context, d *net.Dialer, network, address string) (conn net.Conn, err error) {
	err = s.Within(func() (err error) {
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Within runs f on a thread that is in the namespace. What f starts elsewhere is not in it.
func (s *Space) Within(f func() error) error {
	if s.ns == nil {
		return f()
	}
	runtime.LockOSThread()
	home, err := os.Open(own)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("network namespace: %w", err)
	}
	defer home.Close()
	if err := unix.Setns(int(s.ns.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the program's network namespace: %w", err)
	}
	err = f()
	// A thread that cannot come back stays locked and ends with its goroutine; nothing else must ever run on it.
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back == nil {
		runtime.UnlockOSThread()
	}
	return err
}
