package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// sockets are the two ends of a connection over loopback.
func sockets(t *testing.T) (ours, theirs *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

// swept is a connection whose sweeper runs.
func swept(t *testing.T, nc net.Conn) *Conn {
	t.Helper()
	s := &Sweeper{}
	done := make(chan struct{})
	go func() { defer close(done); s.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	return New(nc, s)
}

// TestTurnsOneAfterTheOther: questions of all sizes, also larger than what the socket takes at once, each with its answer.
func TestTurnsOneAfterTheOther(t *testing.T) {
	ours, theirs := sockets(t)
	c := swept(t, ours)
	sizes := []int{1, 100, Small, Large, 8 << 20, 1}
	go func() {
		for _, size := range sizes {
			if _, err := io.CopyN(io.Discard, theirs, int64(size)); err != nil {
				t.Error(err)
			}
			theirs.Write([]byte("answer"))
		}
	}()
	for _, size := range sizes {
		n, err := c.Turn(make([]byte, size))
		if n != size || err != nil || string(c.Buffered()) != "answer" {
			t.Fatalf("%d bytes: sent %d, %v, got %q", size, n, err, c.Buffered())
		}
		c.Discard(len("answer"))
		if c.buf != nil {
			t.Error("a buffer is held between turns")
		}
	}
}

// TestTurnKeepsWhatIsBuffered: an answer to an earlier question stays in front.
func TestTurnKeepsWhatIsBuffered(t *testing.T) {
	ours, theirs := sockets(t)
	c := New(ours, nil)
	theirs.Write([]byte("early "))
	if err := c.Fill(); err != nil {
		t.Fatal(err)
	}
	go func() {
		io.CopyN(io.Discard, theirs, 1)
		theirs.Write([]byte("late"))
	}()
	if _, err := c.Turn([]byte("?")); err != nil || string(c.Buffered()) != "early late" {
		t.Errorf("got %q, %v", c.Buffered(), err)
	}
}

// TestTurnEnds: every end of a wait says what it was.
func TestTurnEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		peer func(c *Conn, theirs *net.TCPConn)
		want error
		sent int
	}{
		"the peer closes":     {func(_ *Conn, b *net.TCPConn) { io.CopyN(io.Discard, b, 1); b.Close() }, io.EOF, 1},
		"closed by ourselves": {func(c *Conn, b *net.TCPConn) { io.CopyN(io.Discard, b, 1); c.Abort() }, net.ErrClosed, 1},
		"deadline":            {func(c *Conn, b *net.TCPConn) { io.CopyN(io.Discard, b, 1); c.Arm(1) }, os.ErrDeadlineExceeded, 1},
		"interrupted":         {func(c *Conn, b *net.TCPConn) { io.CopyN(io.Discard, b, 1); c.Interrupt() }, os.ErrDeadlineExceeded, 1},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := sockets(t)
			c := swept(t, ours)
			go tt.peer(c, theirs)
			sent, err := c.Turn([]byte("?"))
			if sent != tt.sent || !errors.Is(err, tt.want) {
				t.Errorf("sent %d, %v, want %v", sent, err, tt.want)
			}
			if c.buf != nil {
				t.Error("a buffer is held at the end")
			}
		})
	}
}

// TestTurnAfterALostEdge: the peer has ended its side before the turn, and keeps its other one open. The poller says so once only,
// perhaps before anybody listens; the sweeper finds out.
func TestTurnAfterALostEdge(t *testing.T) {
	for name, before := range map[string]string{"the end": "", "what nobody asked for": "x"} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := sockets(t)
			c := swept(t, ours)
			if before == "" {
				theirs.CloseWrite()
			} else {
				io.WriteString(theirs, before)
			}
			for !c.Stale() {
				time.Sleep(time.Millisecond) // nothing tells when bytes have arrived that nobody reads
			}
			_, err := c.Turn([]byte("?"))
			if before == "" && !errors.Is(err, io.EOF) || string(c.Buffered()) != before {
				t.Errorf("got %q, %v", c.Buffered(), err)
			}
		})
	}
}

// TestWriteWaitsForRoom: a reader that comes late gets everything, in order.
func TestWriteWaitsForRoom(t *testing.T) {
	ours, theirs := sockets(t)
	c := New(ours, nil)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
	go func() {
		if n, err := c.Write(want); n != len(want) || err != nil {
			t.Errorf("wrote %d: %v", n, err)
		}
		c.CloseWrite()
	}()
	got, err := io.ReadAll(theirs)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
}

// TestTurnsAllocateNothing: neither the calls of a turn nor its buffer, where the calls are our own.
func TestTurnsAllocateNothing(t *testing.T) {
	if !lean {
		return
	}
	ours, theirs := sockets(t)
	c := swept(t, ours)
	go func() {
		b := make([]byte, 100)
		for {
			if _, err := io.ReadFull(theirs, b); err != nil {
				return
			}
			theirs.Write(b)
		}
	}()
	question := make([]byte, 100)
	turn := func() {
		if _, err := c.Turn(question); err != nil {
			t.Fatal(err)
		}
		c.Discard(len(c.Buffered()))
	}
	turn()
	if n := testing.AllocsPerRun(100, turn); n != 0 {
		t.Errorf("%v allocations for each turn", n)
	}
}
