package successor

import "context"

// Starter starts processes that take over.
type Starter interface {
	// Start starts one of a binary; empty: the program that this one was started as, as it is on disk now.
	Start(ctx context.Context, binary string) (Process, error)
}

// Process is one that was started.
type Process interface {
	// PID is its number.
	PID() int
	// Ended gets why it ended, if it does before Done.
	Ended() <-chan error
	// End kills it, unless it has ended.
	End()
	// Done says that it has taken over: it lives on when this process ends.
	Done()
}
