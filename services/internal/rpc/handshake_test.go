package rpc

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/credentials"
)

// stalled is a handshake that ends when it is told to.
type stalled struct {
	credentials.TransportCredentials
	running chan struct{} // one for each that has begun
	finish  chan struct{}
}

func (s *stalled) Clone() credentials.TransportCredentials { return s }

func (s *stalled) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	s.running <- struct{}{}
	<-s.finish
	return conn, nil, nil
}

// begin starts handshakes that report how they ended.
func begin(p paced, n int) <-chan error {
	results := make(chan error, n)
	for range n {
		go func() {
			_, _, err := p.Clone().ServerHandshake(nil)
			results <- err
		}()
	}
	synctest.Wait()
	return results
}

// TestHandshakesTakeTurns: no more run at once than there are places, and one that stalls loses its place but goes on.
func TestHandshakesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &stalled{running: make(chan struct{}, 100_000), finish: make(chan struct{})}
		p := newPaced(inner)
		places := cap(p.places)
		results := begin(p, places+1)
		if n := len(inner.running); n != places {
			t.Fatalf("%d handshakes run at once, there are %d places", n, places)
		}
		time.Sleep(handshakeHold)
		synctest.Wait()
		if n := len(inner.running); n != places+1 {
			t.Errorf("%d handshakes run after the first have lost their places, want %d", n, places+1)
		}
		close(inner.finish)
		for range places + 1 {
			if err := <-results; err != nil {
				t.Errorf("handshake: %v", err)
			}
		}
		if n := len(p.places); n != 0 {
			t.Errorf("%d places are still taken", n)
		}
	})
}

// TestHandshakesDoNotWaitForEver: who finds no place in time is sent away before any work was done.
func TestHandshakesDoNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &stalled{running: make(chan struct{}, 1)}
		p := newPaced(inner)
		for range cap(p.places) {
			p.places <- struct{}{}
		}
		if err := <-begin(p, 1); !errors.Is(err, errHandshakes) || len(inner.running) != 0 {
			t.Errorf("want to be sent away, got %v; %d handshakes ran", err, len(inner.running))
		}
	})
}
