//go:build linux && !race && !plainio

package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// call is one system call after another on a socket, within one wait of the runtime's poller: a turn is a write, the wait and a
// read, where Write and Read of the net package try a read that is in vain in between. A pooled buffer is taken only once there
// is something to read. The calls do not tell the scheduler that they are made: sockets of the runtime do not block.
//
// The race detector cannot see these calls; with it, and with the build tag plainio, the net package's are used.
type call struct {
	step    func(fd uintptr) bool // the method of this name, made once: a new one each time would be an allocation
	out     []byte                // still to be sent before there can be an answer
	partial bool                  // the socket did not take all of out at once
	n       int
	errno   syscall.Errno
	send    send
}

// send is the same for a write alone, which another goroutine may make than the one that reads.
type send struct {
	step  func(fd uintptr) bool
	out   []byte
	errno syscall.Errno
}

// write is Write on a socket.
func (c *Conn) write(p []byte) (int, error) {
	s := &c.call.send
	if s.step == nil {
		s.step = s.next
	}
	s.out, s.errno = p, 0
	err := c.raw.Write(s.step)
	if err == nil && s.errno != 0 {
		err = c.opError("write", s.errno)
	}
	n := len(p) - len(s.out)
	s.out = nil
	return n, err
}

// next writes until all is written or the socket is full.
func (s *send) next(fd uintptr) bool {
	for len(s.out) > 0 {
		n, errno := raw(syscall.SYS_WRITE, fd, s.out)
		s.out = s.out[n:]
		if errno == syscall.EAGAIN {
			return false
		}
		if errno != 0 {
			s.errno = errno
			return true
		}
	}
	return true
}

func (c *Conn) opError(op string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.nc.LocalAddr(), Addr: c.nc.RemoteAddr(), Err: os.NewSyscallError(op, errno)}
}

// fill is Fill on a socket.
func (c *Conn) fill() error {
	if c.buf != nil {
		if err := c.room(); err != nil {
			return err
		}
	}
	return c.run("read")
}

// turn is Turn on a socket with nothing buffered.
func (c *Conn) turn(p []byte) (written int, err error) {
	c.call.out, c.call.partial = p, false
	if c.watch != nil {
		c.watch.turns(c.sweeper.clock())
	}
	err = c.run("write")
	written, c.call.out = len(p)-len(c.call.out), nil
	if c.watch != nil && c.watch.turned() {
		c.nc.SetReadDeadline(noDeadline) // fails only on a closed connection: the next read says so
		if errors.Is(err, os.ErrDeadlineExceeded) && written == len(p) {
			return written, c.fill()
		}
	}
	if !c.call.partial || err != nil {
		return written, err
	}
	n, err := c.write(p[written:])
	if written += n; err != nil {
		return written, err
	}
	return written, c.fill()
}

// run makes the calls; op names the first in errors.
func (c *Conn) run(op string) error {
	if c.call.step == nil {
		c.call.step = c.step
	}
	c.call.n, c.call.errno = 0, 0
	err := c.raw.Read(c.call.step)
	switch {
	case err != nil:
	case c.call.errno != 0:
		if len(c.call.out) == 0 {
			op = "read"
		}
		err = c.opError(op, c.call.errno)
	case c.call.partial || c.call.n > 0:
		return nil
	default:
		err = io.EOF
	}
	if c.buf != nil {
		c.vacate()
	}
	return err
}

// step makes the next call; false: nothing more can be done until the socket is readable.
func (c *Conn) step(fd uintptr) bool {
	if len(c.call.out) > 0 {
		return c.stepOut(fd)
	}
	if c.buf == nil {
		c.buf = c.budget().Get(max(c.hint, Small))
		c.r, c.w = 0, 0
	}
	n, errno := raw(syscall.SYS_READ, fd, c.buf.B[c.w:])
	if errno == syscall.EAGAIN {
		c.vacate()
		return false
	}
	c.call.n, c.call.errno = n, errno
	c.w += n
	c.brim = c.w == len(c.buf.B)
	return true
}

func (c *Conn) stepOut(fd uintptr) bool {
	n, errno := raw(syscall.SYS_WRITE, fd, c.call.out)
	c.call.out = c.call.out[n:]
	switch {
	case len(c.call.out) == 0:
		return false
	case errno == 0 || errno == syscall.EAGAIN:
		c.call.partial = true
	default:
		c.call.errno = errno
	}
	return true
}

// raw reads into or writes from p, again after a signal.
func raw(trap, fd uintptr, p []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// peek looks at a socket: EAGAIN when it has nothing to tell.
func peek(fd uintptr) (int, syscall.Errno) {
	var one [1]byte
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&one[0])), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}
