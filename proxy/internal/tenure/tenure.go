package tenure

import (
	"context"
	"sync"

	"github.com/weft-mesh/weft/internal/lifecycle"
)

// Tenure begins and ends once. Make one with New; it is safe for use by many goroutines.
type Tenure struct {
	begun, over chan struct{}

	mu    sync.Mutex
	ended bool
	parts sync.WaitGroup
}

// New makes one that has not begun.
func New() *Tenure { return &Tenure{begun: make(chan struct{}), over: make(chan struct{})} }

// Begin begins it, once.
func (t *Tenure) Begin() { close(t.begun) }

// End ends it, once, and returns when the parts that ran have stopped.
func (t *Tenure) End() {
	t.mu.Lock()
	t.ended = true
	close(t.over)
	t.mu.Unlock()
	t.parts.Wait()
}

// Over is closed when the tenure has ended.
func (t *Tenure) Over() <-chan struct{} { return t.over }

// Ended says whether it has.
func (t *Tenure) Ended() bool {
	select {
	case <-t.over:
		return true
	default:
		return false
	}
}

// During makes a part that runs during the tenure only: it waits for the beginning, and after the end it waits for its context,
// as a part of a group that lives on has to.
func (t *Tenure) During(run lifecycle.Run) lifecycle.Run {
	return func(ctx context.Context) error {
		select {
		case <-t.begun:
		case <-ctx.Done():
			return nil
		}
		if err := t.part(ctx, run); err != nil || !t.Ended() {
			return err
		}
		<-ctx.Done()
		return nil
	}
}

// After makes a part that waits for the beginning, and does not mind the end.
func (t *Tenure) After(run lifecycle.Run) lifecycle.Run {
	return func(ctx context.Context) error {
		select {
		case <-t.begun:
			return run(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

func (t *Tenure) part(ctx context.Context, run lifecycle.Run) error {
	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		return nil
	}
	t.parts.Add(1)
	t.mu.Unlock()
	defer t.parts.Done()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-t.over:
			cancel()
		case <-inner.Done():
		}
	}()
	return run(inner)
}
