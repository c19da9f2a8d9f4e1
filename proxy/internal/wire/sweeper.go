package wire

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Tick is how exact the sweeper's deadlines are.
const Tick = 250 * time.Millisecond

// Sweeper ends reads and writes that take longer than their connection was armed for. Arming is two atomic operations, where
// SetDeadline would touch the runtime's timers each time. The zero value works once Run runs.
type Sweeper struct {
	now atomic.Int64 // nanoseconds since 1970, as of the last tick

	mu      sync.Mutex
	watched map[*watch]struct{}
}

// watch is one connection's deadline.
type watch struct {
	conn net.Conn
	at   atomic.Int64 // nanoseconds since 1970; or disarmed, or expired
}

const (
	disarmed = 0
	expired  = -1
)

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(Tick)
	defer ticker.Stop()
	s.now.Store(time.Now().UnixNano())
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			s.now.Store(now.UnixNano())
			s.sweep(now.UnixNano())
		}
	}
}

func (s *Sweeper) sweep(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watched {
		// The exchange decides the race with a connection that just came to life: it is expired or it is not.
		if at := w.at.Load(); at > 0 && at <= now && w.at.CompareAndSwap(at, expired) {
			w.conn.SetDeadline(time.Unix(1, 0)) // in the past; fails only on a closed connection, which is the aim
		}
	}
}

func (s *Sweeper) add(conn net.Conn) *watch {
	w := &watch{conn: conn}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watched == nil {
		s.watched = map[*watch]struct{}{}
	}
	s.watched[w] = struct{}{}
	return w
}

func (s *Sweeper) remove(w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watched, w)
}

// set changes the deadline; it reports false when it has passed already.
func (w *watch) set(at int64) bool {
	for {
		old := w.at.Load()
		if old == expired {
			return false
		}
		if w.at.CompareAndSwap(old, at) {
			return true
		}
	}
}

func (s *Sweeper) clock() int64 {
	if now := s.now.Load(); now != 0 {
		return now
	}
	return time.Now().UnixNano() // Run has not started yet
}
