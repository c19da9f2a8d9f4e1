package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestConnBuffers(t *testing.T) {
	a, b := net.Pipe()
	c := New(a, nil)
	defer c.Close()
	go func() {
		io.WriteString(b, "head")
		io.WriteString(b, "body")
		io.WriteString(b, strings.Repeat("x", Large))
		b.Close()
	}()
	for len(c.Buffered()) < 8 {
		if err := c.Fill(); err != nil {
			t.Fatal(err)
		}
	}
	buf, view := c.Detach(4)
	if string(view) != "head" || string(c.Buffered()) != "body" {
		t.Errorf("detached %q, left %q", view, c.Buffered())
	}
	buf.Release()
	c.Discard(4)
	if c.buf != nil {
		t.Error("an empty connection holds a buffer")
	}
	for {
		err := c.Fill()
		if errors.Is(err, io.EOF) || errors.Is(err, ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if string(c.Buffered()) != strings.Repeat("x", Large) {
		t.Errorf("%d bytes", len(c.Buffered()))
	}
	if err := c.Fill(); !errors.Is(err, ErrFull) {
		t.Errorf("want ErrFull, got %v", err)
	}
}

func TestStreamReadsWhatWasBuffered(t *testing.T) {
	a, b := net.Pipe()
	c := New(a, nil)
	go func() {
		io.WriteString(b, "first")
		io.WriteString(b, "second")
		b.Close()
	}()
	if err := c.Fill(); err != nil {
		t.Fatal(err)
	}
	s := c.Stream()
	defer s.Close()
	if got, err := io.ReadAll(s); err != nil || string(got) != "firstsecond" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSweeperEndsWhatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Sweeper
		go s.Run(t.Context())
		synctest.Wait()
		a, b := net.Pipe()
		defer b.Close()
		c := New(a, &s)
		defer c.Close()
		begin := time.Now()
		c.Arm(time.Minute)
		if err := c.Fill(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		if d := time.Since(begin); d < time.Minute || d > time.Minute+2*Tick {
			t.Errorf("after %v", d)
		}
		if c.Disarm() {
			t.Error("an expired connection says it is not")
		}
	})
}

func TestSweeperLeavesDisarmedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Sweeper
		go s.Run(t.Context())
		a, b := net.Pipe()
		c := New(a, &s)
		defer c.Close()
		c.Arm(time.Minute)
		if !c.Disarm() {
			t.Error("expired at once")
		}
		time.AfterFunc(time.Hour, func() { b.Close() })
		if err := c.Fill(); !errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
	})
}

func TestStale(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for name, act := range map[string]func(net.Conn){
		"quiet":  func(net.Conn) {},
		"talks":  func(c net.Conn) { io.WriteString(c, "x") },
		"closed": func(c net.Conn) { c.Close() },
	} {
		a, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		b, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c := New(a, nil)
		act(b)
		if c.Stale() != (name != "quiet") {
			t.Errorf("%s: stale is %v", name, c.Stale())
		}
		c.Close()
		b.Close()
	}
}

func TestBudgetBoundsLargeBuffers(t *testing.T) {
	denied := 0
	g := NewBudget(Large, func() { denied++ })
	first := g.Get(Large)
	if len(first.B) != Large || g.Used() != Large || !g.Full() {
		t.Fatalf("%d bytes, %d used", len(first.B), g.Used())
	}
	small := g.Get(Large)
	if len(small.B) != Small || g.Used() != Large || denied != 1 {
		t.Errorf("%d bytes with nothing left, %d used, %d denied", len(small.B), g.Used(), denied)
	}
	small.Release()
	a, b := net.Pipe()
	c := New(a, &Sweeper{Buffers: g})
	defer c.Close()
	go func() {
		io.WriteString(b, strings.Repeat("x", Small))
		b.Close()
	}()
	for len(c.Buffered()) < Small {
		if err := c.Fill(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Fill(); !errors.Is(err, ErrBudget) {
		t.Errorf("want ErrBudget, got %v", err)
	}
	first.Release()
	if err := c.Fill(); !errors.Is(err, io.EOF) || g.Used() != Medium {
		t.Errorf("with room again: %v, %d used", err, g.Used())
	}
	c.Close()
	if g.Used() != 0 {
		t.Errorf("%d used in the end", g.Used())
	}
}
