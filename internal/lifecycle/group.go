// Package lifecycle runs the parts of a process together: all start, the first failure stops all, and they stop in reverse
// order of their start. It is the only supervisor in Weft.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// Run is one part of a process: it blocks until ctx ends and then returns nil, or returns early with what went wrong.
type Run func(ctx context.Context) error

// Group is a list of named parts. Add them in the order in which they depend on each other; the zero value is empty.
type Group struct {
	parts []part
}

type part struct {
	name string
	run  Run
}

// Add appends a part. Not safe for use while Run runs.
func (g *Group) Add(name string, run Run) {
	g.parts = append(g.parts, part{name, run})
}

// Run starts every part and blocks until ctx ends or a part returns. Then it stops the parts one after the other, the last
// one added first, each only after the one before it has returned. A part that returns nil before its context ended stops
// the group too. Panics become errors. All errors are joined, each with its part's name.
func (g *Group) Run(ctx context.Context) error {
	running := make([]*process, len(g.parts))
	first := make(chan struct{}, len(g.parts))
	for i, p := range g.parts {
		running[i] = start(context.WithoutCancel(ctx), p, first)
	}
	select {
	case <-ctx.Done():
	case <-first:
	}
	var errs []error
	for i := len(running) - 1; i >= 0; i-- {
		running[i].cancel()
		errs = append(errs, <-running[i].result)
	}
	return errors.Join(errs...)
}

type process struct {
	cancel context.CancelFunc
	result chan error
}

func start(ctx context.Context, p part, ended chan<- struct{}) *process {
	ctx, cancel := context.WithCancel(ctx)
	proc := &process{cancel: cancel, result: make(chan error, 1)}
	go func() {
		err := guard(ctx, p)
		if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = nil
		}
		proc.result <- err
		ended <- struct{}{}
	}()
	return proc
}

func guard(ctx context.Context, p part) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: panic: %v\n%s", p.name, r, debug.Stack())
		}
	}()
	if err := p.run(ctx); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}
