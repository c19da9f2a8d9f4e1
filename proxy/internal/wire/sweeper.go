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
	// Buffers bounds what the connections hold together, beyond their small buffers; nil: nothing does.
	Buffers *Budget

	now atomic.Int64 // nanoseconds since 1970, as of the last tick

	mu      sync.Mutex
	watched map[*watch]struct{}
}

// watch is one connection's deadline.
type watch struct {
	conn net.Conn
	at   atomic.Int64 // nanoseconds since 1970; or disarmed, or expired
	turn atomic.Int64 // when the turn under way began; or one of the below
}

// The states of a watch between turns, after a look at a long one, and after that has found something.
const (
	noTurn = 0
	looked = -1
	nudged = -2
)

// longTurn is how long a turn lasts before the sweeper looks at its socket, once.
const longTurn = int64(time.Second)

var (
	past       = time.Unix(1, 0)
	noDeadline = time.Time{}
)

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
			w.conn.SetDeadline(past) // fails only on a closed connection, which is the aim
		}
		w.nudge(now)
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

// nudge ends the wait of a turn whose socket was readable before the turn began: the poller tells of that only once, and whoever
// heard it did not listen. The other end has closed, or sent what nobody asked for.
func (w *watch) nudge(now int64) {
	began := w.turn.Load()
	if began <= 0 || now-began < longTurn {
		return
	}
	next := int64(looked)
	if raw := rawConn(w.conn); raw != nil && readable(raw) {
		next = nudged
	}
	if w.turn.CompareAndSwap(began, next) && next == nudged {
		w.conn.SetReadDeadline(past) // fails only on a closed connection
	}
}

// turns marks the beginning of a turn, turned its end: it says whether the sweeper cut its wait short.
func (w *watch) turns(now int64) { w.turn.Store(now) }

func (w *watch) turned() bool { return w.turn.Swap(noTurn) == nudged }

func (s *Sweeper) clock() int64 {
	if now := s.now.Load(); now != 0 {
		return now
	}
	return time.Now().UnixNano() // Run has not started yet
}
