package wire

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// Why a Conn can read no more behind what is buffered.
var (
	// ErrFull says that Large bytes are buffered and none was taken.
	ErrFull = errors.New("buffer is full")
	// ErrBudget says that a larger buffer is needed and the process has no room for one: see Budget.
	ErrBudget = errors.New("no room for a larger buffer")
)

// Conn is a byte stream with a read buffer. One goroutine may read while another writes.
type Conn struct {
	// Home belongs to the pool that the connection came from.
	Home any
	// Since is when the connection was made, IdleSince when it was last put into a pool.
	Since, IdleSince time.Time
	// Fresh: no exchange has been made on it yet.
	Fresh bool

	nc      net.Conn
	layer   Layer           // nc, if it is one; nil: it is not
	raw     syscall.RawConn // of nc, if it is a socket; nil: it is not
	buf     *Buffer
	r, w    int
	brim    bool // the last read took all that there was room for
	hint    int
	sweeper *Sweeper
	watch   *watch
	call    call
	peek    syscall.RawConn // of the socket below, once Stale has looked
}

// Layer is a connection that holds bytes between its socket and its reader, as TLS does.
type Layer interface {
	// Await waits until a Read has something to work on; nothing is held meanwhile.
	Await() error
	// Exchange sends p, and then waits as Await does.
	Exchange(p []byte) (written int, err error)
	// ReadMore is a Read that does not wait: 0 when there is nothing.
	ReadMore(p []byte) int
	// Held says whether bytes wait between the socket and the reader.
	Held() bool
	// Brim says whether the last read from the socket took all that there was room for: the socket may hold more.
	Brim() bool
}

// New makes a Conn of nc, which it owns from now on. sweeper may be nil: then Arm does nothing.
func New(nc net.Conn, sweeper *Sweeper) *Conn {
	c := &Conn{nc: nc, sweeper: sweeper, Since: time.Now(), Fresh: true}
	if layer, ok := nc.(Layer); ok {
		c.layer = layer
	} else if sock, ok := nc.(syscall.Conn); ok {
		c.raw, _ = sock.SyscallConn() // fails only on a closed connection: the first read says so
	}
	if sweeper != nil {
		c.watch = sweeper.add(nc)
	}
	return c
}

// NetConn is the connection below, for its addresses and deadlines; reading from it would miss what is buffered.
func (c *Conn) NetConn() net.Conn { return c.nc }

// Buffered is what was read and not taken: valid until the next Fill, Discard or Detach.
func (c *Conn) Buffered() []byte {
	if c.buf == nil {
		return nil
	}
	return c.buf.B[c.r:c.w]
}

// Discard takes n bytes. An empty buffer goes back to the pool.
func (c *Conn) Discard(n int) {
	c.r += n
	if c.r == c.w {
		c.release()
	}
}

func (c *Conn) release() {
	c.buf.Release()
	c.buf, c.r, c.w = nil, 0, 0
}

// Expect sets how large the next buffer is made: a body deserves a larger one than a head.
func (c *Conn) Expect(n int) { c.hint = n }

// Fill waits for more bytes behind those that are buffered. It grows the buffer as needed, up to Large: then ErrFull, or
// ErrBudget where the process has no room. At the end of the stream it returns io.EOF.
func (c *Conn) Fill() error {
	if c.raw != nil {
		return c.fill()
	}
	if c.layer != nil && c.buf == nil {
		if err := c.layer.Await(); err != nil {
			return err
		}
	}
	return c.read()
}

// read is Fill by the net package, which needs a buffer to wait with.
func (c *Conn) read() error {
	if err := c.room(); err != nil {
		return err
	}
	n, err := c.nc.Read(c.buf.B[c.w:])
	c.w += n
	c.brim = c.w == len(c.buf.B)
	if n > 0 {
		return nil
	}
	c.vacate()
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// More takes in what has arrived already, as far as the buffer has room for it: without waiting, and without a system call. It says
// whether there was anything.
func (c *Conn) More() bool {
	if c.layer == nil || !c.layer.Held() {
		return false
	}
	if c.buf != nil && c.w == len(c.buf.B) || c.room() != nil {
		return false
	}
	n := c.layer.ReadMore(c.buf.B[c.w:])
	c.w += n
	c.vacate()
	return n > 0
}

// vacate gives an empty buffer back.
func (c *Conn) vacate() {
	if c.r == c.w {
		c.release()
	}
}

func (c *Conn) budget() *Budget {
	if c.sweeper == nil {
		return nil
	}
	return c.sweeper.Buffers
}

func (c *Conn) room() error {
	switch {
	case c.buf == nil:
		c.buf = c.budget().Get(max(c.hint, Small))
	case c.w < len(c.buf.B):
	case c.r > 0:
		c.w = copy(c.buf.B, c.buf.B[c.r:c.w])
		c.r = 0
	case len(c.buf.B) >= Large:
		return ErrFull
	default:
		larger := c.budget().grow(len(c.buf.B) + 1)
		if larger == nil {
			return ErrBudget
		}
		c.w = copy(larger.B, c.buf.B[:c.w])
		c.buf.Release()
		c.buf = larger
	}
	return nil
}

// Detach takes the first n buffered bytes together with the buffer that they are in, which the caller releases when done
// with the view. What follows them moves to another buffer.
func (c *Conn) Detach(n int) (*Buffer, []byte) {
	own, view := c.buf, c.buf.B[c.r:c.r+n]
	rest := c.buf.B[c.r+n : c.w]
	c.buf, c.r, c.w = nil, 0, 0
	if len(rest) > 0 {
		c.buf = c.budget().force(max(len(rest), c.hint))
		c.w = copy(c.buf.B, rest)
	}
	return own, view
}

// Write sends all of p.
func (c *Conn) Write(p []byte) (int, error) {
	if c.raw != nil {
		return c.write(p)
	}
	return c.nc.Write(p)
}

// Turn sends all of p and waits for an answer, which is buffered. written tells how much of p the socket took. Nobody else may
// write meanwhile.
func (c *Conn) Turn(p []byte) (written int, err error) {
	switch {
	case c.raw != nil && c.buf == nil:
		return c.turn(p)
	case c.layer != nil && c.buf == nil:
		written, err = c.layer.Exchange(p)
	default:
		written, err = c.nc.Write(p)
	}
	if err != nil {
		return written, err
	}
	return written, c.Fill()
}

// Arm makes reads and writes fail with os.ErrDeadlineExceeded once d has passed, coarsely. It replaces what was armed.
func (c *Conn) Arm(d time.Duration) {
	if c.watch != nil {
		c.watch.set(c.sweeper.clock() + int64(d))
	}
}

// Disarm removes the deadline. It reports false when it has passed: then the connection is of no use.
func (c *Conn) Disarm() bool {
	return c.watch == nil || c.watch.set(disarmed)
}

// SetDeadline sets an exact deadline, for limits that people have set; the zero time removes it.
func (c *Conn) SetDeadline(t time.Time) {
	c.nc.SetDeadline(t) // fails only on a closed connection: the next read says so
}

// Interrupt makes reads that wait, and those that follow, fail at once.
func (c *Conn) Interrupt() {
	c.nc.SetReadDeadline(past) // fails only on a closed connection, which is the aim
}

// CloseWrite ends the sending direction only, where the connection can.
func (c *Conn) CloseWrite() error {
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.nc.Close()
}

// Brim says whether the last read took all that there was room for.
func (c *Conn) Brim() bool { return c.brim }

// Surplus says whether more has come than what was taken, as far as that can be told without a system call for every exchange: it
// looks where the last read may have left something behind.
func (c *Conn) Surplus() bool {
	if len(c.Buffered()) > 0 {
		return true
	}
	look := c.brim
	if c.layer != nil {
		if c.layer.Held() {
			return true
		}
		look = look || c.layer.Brim()
	}
	return look && c.Stale()
}

// Close ends the connection and gives its buffer back. Nobody may read or fill any more.
func (c *Conn) Close() error {
	if c.buf != nil {
		c.release()
	}
	return c.Abort()
}

// Abort ends the connection from any goroutine; its user's reads fail and it still has to call Close.
func (c *Conn) Abort() error {
	if c.watch != nil {
		c.sweeper.remove(c.watch)
	}
	return c.nc.Close()
}

// Stream hands the connection over to another engine: what is buffered is read first. The Conn must not be used any more.
func (c *Conn) Stream() net.Conn {
	if c.watch != nil {
		c.watch.set(disarmed)
		c.sweeper.remove(c.watch)
	}
	if c.buf == nil {
		return c.nc
	}
	head := append([]byte(nil), c.Buffered()...)
	c.release()
	return &stream{Conn: c.nc, head: head}
}

// stream reads head first.
type stream struct {
	net.Conn
	head []byte
}

// Read returns what was buffered, then what comes.
func (s *stream) Read(p []byte) (int, error) {
	if len(s.head) == 0 {
		return s.Conn.Read(p)
	}
	n := copy(p, s.head)
	s.head = s.head[n:]
	return n, nil
}

// CloseWrite ends the sending direction only.
func (s *stream) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return s.Conn.Close()
}
