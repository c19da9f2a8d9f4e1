package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// maxMessage bounds a packet: all of a message but Error and Binary is small.
const maxMessage = 64 << 10

// Conn is one end of a conversation. One goroutine may send while another receives.
type Conn struct {
	c *net.UnixConn
}

// Pair makes two ends that are connected: one for this process, one to be inherited by a child.
func Pair() (here *Conn, there *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("control sockets: %w", err)
	}
	here, err = FromFile(os.NewFile(uintptr(fds[0]), "control"))
	if err != nil {
		syscall.Close(fds[1]) //nolint:errcheck // the first error counts
		return nil, nil, err
	}
	return here, os.NewFile(uintptr(fds[1]), "control"), nil
}

// FromFile makes a Conn of an open socket, and closes the file.
func FromFile(f *os.File) (*Conn, error) {
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	c, ok := nc.(*net.UnixConn)
	if !ok {
		nc.Close()
		return nil, errors.New("control socket: it is not a Unix socket")
	}
	return &Conn{c}, nil
}

// Close ends the conversation.
func (c *Conn) Close() error { return c.c.Close() }

// Send sends a message.
func (c *Conn) Send(m Message) error { return c.send(m, nil) }

// SendFile sends a message with a file descriptor, which the receiver gets a copy of.
func (c *Conn) SendFile(m Message, f syscall.Conn) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("send %s %q: %w", m.Kind, m.Name, err)
	}
	// Not by File, which would make a copy first, nor by Fd, which would make the socket blocking for all who have it.
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = c.send(m, syscall.UnixRights(int(fd))) }); err != nil {
		return fmt.Errorf("send %s %q: %w", m.Kind, m.Name, err)
	}
	return sent
}

func (c *Conn) send(m Message, rights []byte) error {
	raw, err := json.Marshal(m)
	if err == nil {
		_, _, err = c.c.WriteMsgUnix(raw, rights, nil)
	}
	if err != nil {
		return fmt.Errorf("send %s: %w", m.Kind, err)
	}
	return nil
}

// Receive waits for the next message, until ctx ends. f is the descriptor that came with it, if one did. The error is io.EOF when
// the other end has closed.
func (c *Conn) Receive(ctx context.Context) (m Message, f *os.File, err error) {
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.c.SetReadDeadline(time.Unix(1, 0)) // a closed connection has none
		close(cut)
	})
	defer func() {
		if !stop() {
			<-cut
			_ = c.c.SetReadDeadline(time.Time{})
		}
	}()
	b := make([]byte, maxMessage)
	oob := make([]byte, syscall.CmsgSpace(4))
	n, on, flags, _, err := c.c.ReadMsgUnix(b, oob)
	if f, ferr := received(oob[:on]); ferr != nil || f != nil {
		if err == nil && ferr == nil {
			m, err = decode(b[:n], flags)
			return m, f, err
		}
		err = errors.Join(err, ferr)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return m, nil, ctx.Err()
	case err != nil:
		return m, nil, fmt.Errorf("control socket: %w", err)
	case n == 0:
		return m, nil, io.EOF
	}
	m, err = decode(b[:n], flags)
	return m, nil, err
}

// Expect is Receive for one kind of message.
func (c *Conn) Expect(ctx context.Context, kind Kind) (Message, error) {
	m, f, err := c.Receive(ctx)
	if f != nil {
		f.Close()
	}
	if err == nil && m.Kind != kind {
		err = fmt.Errorf("control socket: %q came instead of %q", m.Kind, kind)
	}
	return m, err
}

func decode(b []byte, flags int) (m Message, err error) {
	if flags&syscall.MSG_TRUNC != 0 {
		return m, fmt.Errorf("control socket: a message is longer than %d bytes", maxMessage)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("control socket: %w", err)
	}
	return m, nil
}

// received takes the descriptor out of a packet.
func received(oob []byte) (*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	parts, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	var file *os.File
	for i := range parts {
		fds, err := syscall.ParseUnixRights(&parts[i])
		if err != nil {
			return nil, fmt.Errorf("control socket: %w", err)
		}
		for _, fd := range fds {
			file = os.NewFile(uintptr(fd), "handed over") // there is room for one only
		}
	}
	return file, nil
}
