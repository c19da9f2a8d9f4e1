package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/limit"
)

const (
	// turnedAway is how many connections beyond the limits are told so at once. More wait in the kernel's queue.
	turnedAway = 64
	// farewell is how long such a connection has for its answer.
	farewell = 2 * time.Second
	// idleGrace is how long a draining sidecar waits for one more request on an idle connection: closing at once would race
	// with a request that is on its way.
	idleGrace = time.Second
	// The back-off of an accept that failed, for example because there are no file descriptors.
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
)

// Handler serves one connection and returns when it is over. The session is closed afterwards.
type Handler func(ctx context.Context, s *Session)

// Loop accepts connections of any number of listeners. Make one with New; it is safe for use by many goroutines.
type Loop struct {
	guard    *limit.Guard
	draining atomic.Bool
	drained  chan struct{} // closed when draining begins

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	sessions  map[*Session]struct{}
	peers     map[netip.Addr]int // sessions that are served, by the client's address
	refused   int                // sessions that are not
	room      chan struct{}      // closed when a session ends while the loop is full; nil while nobody waits
	empty     chan struct{}      // closed when the last session ends while draining; nil while nobody waits
}

// New makes a loop that serves as many connections as guard says; nil: as many as it says by default. Some more are accepted
// to be refused: see Session.Refused.
func New(guard *limit.Guard) *Loop {
	if guard == nil {
		guard = limit.New(limit.Limits{})
	}
	return &Loop{
		guard: guard, drained: make(chan struct{}), listeners: map[net.Listener]struct{}{}, sessions: map[*Session]struct{}{},
		peers: map[netip.Addr]int{},
	}
}

// Draining says that no connection should outlive its current exchange.
func (l *Loop) Draining() bool { return l.draining.Load() }

// Len is the number of connections, also of those that are being refused.
func (l *Loop) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sessions)
}

// Serve accepts until ctx ends or the loop drains; then it closes ln and returns nil. Ending ctx also cuts the connections;
// draining lets them finish. Serve returns when the goroutines of its connections have returned.
func (l *Loop) Serve(ctx context.Context, ln net.Listener, handle Handler) error {
	defer ln.Close()
	if !l.register(ln) {
		return nil
	}
	defer l.unregister(ln)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var handlers sync.WaitGroup
	defer handlers.Wait()
	stop := context.AfterFunc(ctx, func() {
		ln.Close()
		l.abort(ln)
	})
	defer stop()
	err := l.accept(ctx, ln, handle, &handlers)
	handlers.Wait()
	return err
}

func (l *Loop) accept(ctx context.Context, ln net.Listener, handle Handler, handlers *sync.WaitGroup) error {
	backoff := minBackoff
	for l.wait(ctx) {
		conn, err := ln.Accept()
		if err == nil {
			backoff = minBackoff
			l.start(ctx, ln, conn, handle, handlers)
			continue
		}
		if ctx.Err() != nil || l.Draining() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
		}
		backoff = min(2*backoff, maxBackoff)
	}
	return nil
}

// wait blocks while the loop is full and refuses as many as it may.
func (l *Loop) wait(ctx context.Context) bool {
	for ctx.Err() == nil && !l.Draining() {
		l.mu.Lock()
		if len(l.sessions)-l.refused < l.guard.Conns || l.refused < turnedAway {
			l.mu.Unlock()
			return true
		}
		if l.room == nil {
			l.room = make(chan struct{})
		}
		room := l.room
		l.mu.Unlock()
		select {
		case <-room:
		case <-l.drained:
		case <-ctx.Done():
		}
	}
	return false
}

func (l *Loop) start(ctx context.Context, ln net.Listener, conn net.Conn, handle Handler, handlers *sync.WaitGroup) {
	s := &Session{Conn: conn, loop: l, from: ln, peer: peerOf(conn)}
	if !l.admit(s) {
		conn.Close()
		return
	}
	if ctx.Err() != nil {
		conn.Close() // accepted just before the end, after everything else was cut
	}
	handlers.Go(func() {
		defer l.end(s)
		if s.over != nil {
			defer time.AfterFunc(farewell, func() { conn.Close() }).Stop()
		}
		handle(ctx, s)
	})
}

// admit counts a session, as one that is served or, over a limit, as one that is refused. It is false when there is no room
// even for a refusal.
func (l *Loop) admit(s *Session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.sessions)-l.refused >= l.guard.Conns:
		s.over = l.guard.Refuse(limit.Conns)
	case l.peers[s.peer] >= l.guard.PeerConns:
		s.over = l.guard.Refuse(limit.PeerConns)
	}
	switch {
	case s.over == nil:
		l.peers[s.peer]++
	case l.refused >= turnedAway:
		return false
	default:
		l.refused++
	}
	l.sessions[s] = struct{}{}
	return true
}

// peerOf is the address that a connection comes from; not valid for one that has none.
func peerOf(conn net.Conn) netip.Addr {
	if tcp, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (l *Loop) end(s *Session) {
	s.Conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions, s)
	switch {
	case s.over != nil:
		l.refused--
	case l.peers[s.peer] > 1:
		l.peers[s.peer]--
	default:
		delete(l.peers, s.peer)
	}
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
	if l.empty != nil && len(l.sessions) == 0 {
		close(l.empty)
		l.empty = nil
	}
}

func (l *Loop) register(ln net.Listener) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Draining() {
		return false
	}
	l.listeners[ln] = struct{}{}
	return true
}

func (l *Loop) unregister(ln net.Listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.listeners, ln)
}
