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

// Drainer is one of the parts that serve connections.
type Drainer interface {
	// Drain returns when nothing is left, or when ctx ends: then it closes what is.
	Drain(ctx context.Context) error
	// Cut ends what is under way, each with its reason, and returns how much there was.
	Cut() int
}

// Together drains the loop and the parts that serve its connections. When ctx ends first, the parts cut what is under way before
// the loop closes the connections: so every record has its reason, and whoever can still be told is.
func (l *Loop) Together(ctx context.Context, parts ...Drainer) error {
	hard, give := context.WithCancelCause(context.WithoutCancel(ctx))
	defer give(nil)
	var left atomic.Int64
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(cut)
		var wg sync.WaitGroup
		for _, p := range parts {
			wg.Go(func() { left.Add(int64(p.Cut())) })
		}
		wg.Wait()
		give(ctx.Err())
	})
	drains := []func(context.Context) error{l.Drain}
	for _, p := range parts {
		drains = append(drains, p.Drain)
	}
	errs := make([]error, len(drains))
	var wg sync.WaitGroup
	for i, drain := range drains {
		wg.Go(func() { errs[i] = drain(hard) })
	}
	wg.Wait()
	if !stop() {
		<-cut
	}
	if n := left.Load(); n > 0 {
		errs = append(errs, fmt.Errorf("drain: %d requests, streams and sessions cut: %w", n, ctx.Err()))
	}
	return errors.Join(errs...)
}

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
				return fmt.Errorf("drain: %d connections cut: %w", n, context.Cause(ctx))
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
