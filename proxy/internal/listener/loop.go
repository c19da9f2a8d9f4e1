package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// defaultMax is how many connections a sidecar serves at once.
	defaultMax = 10_000
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
	max      int
	draining atomic.Bool
	drained  chan struct{} // closed when draining begins

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	sessions  map[*Session]struct{}
	room      chan struct{} // closed when a session ends while the loop is full; nil while nobody waits
	empty     chan struct{} // closed when the last session ends while draining; nil while nobody waits
}

// New makes a loop for at most maxConns connections at once; 0: 10,000. More wait in the kernel's queue.
func New(maxConns int) *Loop {
	if maxConns == 0 {
		maxConns = defaultMax
	}
	return &Loop{max: maxConns, drained: make(chan struct{}), listeners: map[net.Listener]struct{}{}, sessions: map[*Session]struct{}{}}
}

// Draining says that no connection should outlive its current exchange.
func (l *Loop) Draining() bool { return l.draining.Load() }

// Len is the number of connections.
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

// wait blocks while the loop is full.
func (l *Loop) wait(ctx context.Context) bool {
	for ctx.Err() == nil && !l.Draining() {
		l.mu.Lock()
		if len(l.sessions) < l.max {
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
	s := &Session{Conn: conn, loop: l, from: ln}
	l.mu.Lock()
	l.sessions[s] = struct{}{}
	l.mu.Unlock()
	if ctx.Err() != nil {
		conn.Close() // accepted just before the end, after everything else was cut
	}
	handlers.Go(func() {
		defer l.end(s)
		handle(ctx, s)
	})
}

func (l *Loop) end(s *Session) {
	s.Conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sessions, s)
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
