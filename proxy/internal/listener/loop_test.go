package listener_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/listener"
)

// fake is a listener that hands out what it is given.
type fake struct {
	next   chan func() (net.Conn, error)
	closed chan struct{}
	calls  atomic.Int64
}

func newFake() *fake {
	return &fake{next: make(chan func() (net.Conn, error), 100), closed: make(chan struct{})}
}

func (f *fake) Accept() (net.Conn, error) {
	f.calls.Add(1)
	select {
	case next := <-f.next:
		return next()
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

func (f *fake) Close() error {
	select {
	case <-f.closed:
	default:
		close(f.closed)
	}
	return nil
}

func (f *fake) Addr() net.Addr { return &net.TCPAddr{} }

// connect makes a connection arrive and returns the client's end.
func (f *fake) connect() net.Conn {
	a, b := net.Pipe()
	f.next <- func() (net.Conn, error) { return a, nil }
	return b
}

func TestBacksOffWithoutFileDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ln, l := newFake(), listener.New(nil)
		for range 20 {
			ln.next <- func() (net.Conn, error) { return nil, syscall.EMFILE }
		}
		client := ln.connect()
		begin := time.Now()
		done := make(chan error)
		go func() { done <- l.Serve(ctx, ln, func(context.Context, *listener.Session) {}) }()
		io.ReadAll(client) // served in the end
		if d := time.Since(begin); d < 10*time.Second || d > 20*time.Second {
			t.Errorf("after %v", d)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestServesNoMoreThanItsLimit: two are served, those beyond are handed out as refused, some at once and no more, and a place
// that becomes free is taken.
func TestServesNoMoreThanItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		guard := limit.New(limit.Limits{Conns: 2})
		ln, l := newFake(), listener.New(guard)
		var served atomic.Int64
		hold := func(_ context.Context, s *listener.Session) {
			if s.Refused() == nil {
				served.Add(1)
				defer served.Add(-1)
			} else if !s.Draining() {
				t.Error("a refused session is not told to end")
			}
			io.ReadAll(s)
		}
		var clients []net.Conn
		for range 70 {
			clients = append(clients, ln.connect())
		}
		done := make(chan error)
		go func() { done <- l.Serve(ctx, ln, hold) }()
		synctest.Wait()
		if served.Load() != 2 || l.Len() != 66 || ln.calls.Load() != 66 || guard.Refused(limit.Conns) != 64 {
			t.Errorf("%d served, %d held, %d accepted, %d refused", served.Load(), l.Len(), ln.calls.Load(), guard.Refused(limit.Conns))
		}
		clients[0].Close()
		synctest.Wait()
		if served.Load() != 2 || ln.calls.Load() != 67 {
			t.Errorf("%d served, %d accepted after one left", served.Load(), ln.calls.Load())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if l.Len() != 2 || guard.Refused(limit.Conns) != 67 {
			t.Errorf("%d held, %d refused after a minute", l.Len(), guard.Refused(limit.Conns))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestOneAddressCannotTakeAllPlaces: connections of one address beyond its share are refused, those of another are served.
func TestOneAddressCannotTakeAllPlaces(t *testing.T) {
	guard := limit.New(limit.Limits{PeerConns: 2})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, refused := listener.New(guard), make(chan bool, 1)
	done := make(chan error)
	go func() {
		done <- l.Serve(t.Context(), inner, func(_ context.Context, s *listener.Session) {
			refused <- s.Refused() != nil
			io.ReadAll(s)
		})
	}()
	for i, want := range []struct {
		from    string
		refused bool
	}{{"127.0.0.1", false}, {"127.0.0.1", false}, {"127.0.0.1", true}, {"127.0.0.2", false}} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(want.from)}}
		conn, err := d.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := <-refused; got != want.refused {
			t.Errorf("connection %d, from %s: refused is %v", i, want.from, got)
		}
	}
	if guard.Refused(limit.PeerConns) != 1 {
		t.Errorf("%d refused", guard.Refused(limit.PeerConns))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	l.Drain(ended) // cuts them
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDrainEndsIdleAfterAGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln, l := newFake(), listener.New(nil)
		idle := ln.connect()
		finish := make(chan struct{})
		var n atomic.Int64
		done := make(chan error)
		go func() {
			done <- l.Serve(t.Context(), ln, func(_ context.Context, s *listener.Session) {
				if n.Add(1) == 1 {
					s.Idle()
					io.ReadAll(s)
					return
				}
				<-finish
			})
		}()
		synctest.Wait()
		busy := ln.connect()
		synctest.Wait()
		drained := make(chan error, 1)
		begin := time.Now()
		go func() { drained <- l.Drain(t.Context()) }()
		io.ReadAll(idle)
		if d := time.Since(begin); d < time.Second/2 || d > 2*time.Second {
			t.Errorf("idle ended after %v", d)
		}
		select {
		case err := <-drained:
			t.Errorf("drained before the busy one ended: %v", err)
		default:
		}
		close(finish)
		io.ReadAll(busy)
		if err := errors.Join(<-drained, <-done); err != nil {
			t.Error(err)
		}
	})
}
