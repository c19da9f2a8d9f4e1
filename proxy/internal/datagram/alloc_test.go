//go:build !race

package datagram

import (
	"io"
	"net"
	"testing"
)

// flood makes a frame again and again.
type flood struct {
	net.Conn
	frame []byte
}

func (f *flood) Read(b []byte) (int, error) {
	n := 0
	for n+len(f.frame) <= len(b) {
		n += copy(b[n:], f.frame)
	}
	return n, nil
}

func (f *flood) Write(b []byte) (int, error) { return len(b), nil }
func (f *flood) Close() error                { return nil }
func (f *flood) CloseWrite() error           { return nil }
func (f *flood) deliverTo(n int, done func()) func([]byte) {
	return func([]byte) {
		if n--; n == 0 {
			done()
		}
	}
}

// TestNothingIsAllocatedForADatagram covers the way of each datagram: in from a client, through its session's queue, to a
// stream; out of a stream; out of a program's socket, and into it.
func TestNothingIsAllocatedForADatagram(t *testing.T) {
	x := New(Config{})
	payload := make([]byte, 1200)
	_, s, err := x.Begin(t.Context(), Client{From: client(1), To: server}, false)
	if err != nil {
		t.Fatal(err)
	}
	m := &mux{sessions: x, live: map[route]*Session{{client(1), server}: s}}
	stream := NewStream(&flood{frame: AppendFrame(nil, payload)})
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() {
		m.datagram(ctx, route{client(1), server}, payload)
		c, ok := s.queue.take()
		if !ok {
			t.Fatal("closed")
		}
		if _, err := stream.Send(c.frames()); err != nil {
			t.Fatal(err)
		}
		s.queue.release(c)
	}); n != 0 {
		t.Errorf("client to stream: %v allocations", n)
	}
	x.Forget(s)

	pair(t, func(app *App, program *net.UDPConn) {
		buf, frames := make([]byte, 2000), AppendFrame(nil, payload)
		if n := testing.AllocsPerRun(1000, func() {
			if lost, err := app.Send(frames); lost > 0 || err != nil {
				t.Fatal(lost, err)
			}
			if _, _, err := program.ReadFromUDPAddrPort(buf); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("to a program: %v allocations", n)
		}
	})
}

// TestNothingIsAllocatedForAReply counts over many datagrams what Receive allocates, which is a few things when it begins.
func TestNothingIsAllocatedForAReply(t *testing.T) {
	const many = 2000
	stream := &flood{frame: AppendFrame(nil, make([]byte, 1200))}
	if n := testing.AllocsPerRun(1, func() {
		s := NewStream(stream)
		defer func() { _ = recover() }()
		_ = s.Receive(stream.deliverTo(many, func() { panic(io.EOF) }))
	}); n > 20 {
		t.Errorf("from a stream: %v allocations for %d datagrams", n, many)
	}
	pair(t, func(app *App, program *net.UDPConn) {
		got := make(chan struct{})
		done := make(chan error)
		go func() { done <- app.Receive(func([]byte) { got <- struct{}{} }) }()
		to := app.conn.LocalAddr().(*net.UDPAddr).AddrPort()
		payload := make([]byte, 1200)
		if n := testing.AllocsPerRun(many, func() {
			if _, err := program.WriteToUDPAddrPort(payload, to); err != nil {
				t.Fatal(err)
			}
			<-got
		}); n != 0 {
			t.Errorf("from a program: %v allocations", n)
		}
		app.Abort()
		<-done
	})
}

// pair is an App and the socket of its program.
func pair(t *testing.T, use func(app *App, program *net.UDPConn)) {
	t.Helper()
	program, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	conn, err := net.Dial("udp", program.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	app := NewApp(conn)
	defer app.Abort()
	use(app, program.conn)
}
