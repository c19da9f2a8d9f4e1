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

func wait(_ context.Context, s *listener.Session) { io.ReadAll(s) }

func TestBacksOffWithoutFileDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ln, l := newFake(), listener.New(0)
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

func TestServesNoMoreThanItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ln, l := newFake(), listener.New(2)
		first, second, third := ln.connect(), ln.connect(), ln.connect()
		done := make(chan error)
		go func() { done <- l.Serve(ctx, ln, wait) }()
		synctest.Wait()
		if l.Len() != 2 || ln.calls.Load() != 2 {
			t.Errorf("%d served, %d accepted", l.Len(), ln.calls.Load())
		}
		first.Close()
		synctest.Wait()
		if l.Len() != 2 || ln.calls.Load() != 3 {
			t.Errorf("%d served, %d accepted after one left", l.Len(), ln.calls.Load())
		}
		second.Close()
		third.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestDrainEndsIdleAfterAGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln, l := newFake(), listener.New(0)
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
