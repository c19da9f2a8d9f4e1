package tenure

import (
	"context"

	"github.com/weft-mesh/weft/internal/lifecycle"
)

// Pausable is a part of a group that can be stopped for a while. Its function is called again when it goes on.
type Pausable struct {
	run   lifecycle.Run
	pause chan pause
}

type pause struct {
	stopped chan struct{} // closed when the part is at rest
	resume  <-chan struct{}
}

// NewPausable makes one of a function that may be called again after its context has ended.
func NewPausable(run lifecycle.Run) *Pausable {
	return &Pausable{run: run, pause: make(chan pause)}
}

// Run runs the part until ctx ends.
func (p *Pausable) Run(ctx context.Context) error {
	for {
		inner, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- p.run(inner) }()
		select {
		case err := <-done:
			cancel()
			return err
		case rest := <-p.pause:
			cancel()
			if err := <-done; err != nil {
				return err
			}
			close(rest.stopped)
			select {
			case <-rest.resume:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// Pause stops the part and returns what lets it go on, to be called once or never. The error is that of ctx.
func (p *Pausable) Pause(ctx context.Context) (resume func(), err error) {
	ch := make(chan struct{})
	rest := pause{stopped: make(chan struct{}), resume: ch}
	select {
	case p.pause <- rest:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-rest.stopped:
		return func() { close(ch) }, nil
	case <-ctx.Done():
		close(ch)
		return nil, ctx.Err()
	}
}
