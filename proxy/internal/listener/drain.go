package listener

import (
	"context"
	"fmt"
	"net"
	"time"
)

// Drain stops accepting, lets every exchange that has begun come to its end, gives idle connections a short grace and then
// closes them. It returns nil when no connection is left; when ctx ends first it closes what is left and says how many.
func (l *Loop) Drain(ctx context.Context) error {
	empty := l.stop()
	grace := time.NewTimer(idleGrace)
	defer grace.Stop()
	for {
		select {
		case <-empty:
			return nil
		case <-grace.C:
			l.endIdle()
		case <-ctx.Done():
			if n := l.abort(nil); n > 0 {
				return fmt.Errorf("drain: %d connections cut: %w", n, ctx.Err())
			}
			return nil
		}
	}
}

// stop closes the listeners and returns a channel that is closed when no session is left.
func (l *Loop) stop() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.draining.Swap(true) {
		close(l.drained)
	}
	for ln := range l.listeners {
		ln.Close()
	}
	empty := l.empty
	if empty == nil {
		empty = make(chan struct{})
		if len(l.sessions) == 0 {
			close(empty)
		} else {
			l.empty = empty
		}
	}
	return empty
}

func (l *Loop) endIdle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.sessions {
		s.endIdle()
	}
}

// abort closes the sessions of one listener, or of all for nil, and returns how many there were.
func (l *Loop) abort(of net.Listener) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.sessions {
		if of == nil || s.from == of {
			s.Conn.Close()
			n++
		}
	}
	return n
}
