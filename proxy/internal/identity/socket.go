package identity

import (
	"encoding/binary"
	"net"
	"sync"

	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// What a record of TLS 1.3 has besides its content: a header before it, and the type and the tag behind it (RFC 8446, section 5.2).
const (
	headerSize = 5
	tailSize   = 17
)

// socket is what TLS reads from and writes to. It takes in whatever has arrived with one system call, and hands it on by
// records, so that it knows whether there is another one. While corked it gathers writes, whoever makes them (TLS also writes
// key updates and alerts from its reading side), so that their order stays.
type socket struct {
	net.Conn

	// Of the reader.
	conn    *wire.Conn // the same, with a buffer
	left    int        // bytes of the record under way that TLS has not taken
	content int        // of that record, with padding
	size    int        // of the next buffer
	dry     bool       // a read must not wait

	mu      sync.Mutex
	held    bool
	pending *wire.Buffer
	n       int // bytes in pending
}

func newSocket(raw net.Conn) *socket {
	return &socket{Conn: raw, conn: wire.New(raw, nil), size: wire.Small}
}

// errDry is how a read ends that must not wait. TLS goes on after errors that are temporary.
type errDry struct{}

func (errDry) Error() string   { return "nothing has arrived" }
func (errDry) Timeout() bool   { return false }
func (errDry) Temporary() bool { return true }

var _ net.Error = errDry{}

// Read gives TLS at most the rest of one record.
func (s *socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for s.left == 0 && len(s.conn.Buffered()) < headerSize || len(s.conn.Buffered()) == 0 {
		if s.dry {
			return 0, errDry{}
		}
		if err := s.await(); err != nil {
			return 0, err
		}
	}
	in := s.conn.Buffered()
	if s.left == 0 {
		s.left = recordSize(in)
		s.content = s.left - headerSize - tailSize
	}
	n := copy(p, in[:min(s.left, len(in))])
	s.conn.Discard(n)
	s.left -= n
	return n, nil
}

func recordSize(in []byte) int { return headerSize + int(binary.BigEndian.Uint16(in[3:])) }

// whole says whether a record has arrived to its end.
func (s *socket) whole() bool {
	in := s.conn.Buffered()
	return s.left == 0 && len(in) >= headerSize && len(in) >= recordSize(in)
}

// await waits for more bytes. Buffers follow what comes: one that was filled is followed by a larger one.
func (s *socket) await() error {
	s.conn.Expect(s.size)
	before := len(s.conn.Buffered())
	if err := s.conn.Fill(); err != nil {
		return err
	}
	s.adapt(len(s.conn.Buffered()) - before)
	return nil
}

func (s *socket) adapt(read int) {
	switch {
	case read >= wire.Medium:
		s.size = wire.Large
	case read >= wire.Small:
		s.size = wire.Medium
	case read < wire.Small/2:
		s.size = wire.Small
	}
}

func (s *socket) cork() {
	s.mu.Lock()
	s.held = true
	s.mu.Unlock()
}

// Write sends p, or keeps it while corked, as far as there is room.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.held {
		return s.conn.Write(p)
	}
	if s.pending == nil {
		s.pending = wire.Get(max(len(p), wire.Small))
	}
	if s.n+len(p) > len(s.pending.B) {
		if err := s.enlarge(len(p)); err != nil {
			return 0, err
		}
	}
	s.n += copy(s.pending.B[s.n:], p)
	return len(p), nil
}

// enlarge makes room for more bytes; when there is no larger buffer, it sends what there is. The caller holds mu.
func (s *socket) enlarge(more int) error {
	if s.n+more > wire.Out {
		return s.send()
	}
	larger := wire.Get(wire.Out)
	copy(larger.B, s.pending.B[:s.n])
	s.pending.Release()
	s.pending = larger
	return nil
}

// send writes what was gathered. The caller holds mu.
func (s *socket) send() error {
	_, err := s.conn.Write(s.pending.B[:s.n])
	s.n = 0
	return err
}

// take ends gathering and gives away what was gathered.
func (s *socket) take() (*wire.Buffer, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out, n := s.pending, s.n
	s.held, s.pending, s.n = false, nil, 0
	if out == nil {
		return nil, nil
	}
	return out, out.B[:n]
}

// flush ends gathering by sending. Until it has, nobody else sends.
func (s *socket) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = false
	if s.pending == nil {
		return nil
	}
	err := s.send()
	s.pending.Release()
	s.pending = nil
	return err
}

// turn ends gathering by sending and waits for bytes; the caller is the only one who sends and reads.
func (s *socket) turn() (sent int, err error) {
	buf, out := s.take()
	defer buf.Release()
	s.conn.Expect(s.size)
	sent, err = s.conn.Turn(out)
	if err == nil {
		s.adapt(len(s.conn.Buffered()))
	}
	return sent, err
}
