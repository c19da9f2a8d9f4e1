package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/services/internal/fault"
)

// errDraining ends streams of a server that stops: their clients go on at another replica.
var errDraining = fault.New(fault.Unavailable, "server is draining")

// drain is the moment at which a server begins to stop.
type drain struct {
	ctx   context.Context
	begin func()
}

func newDrain() drain {
	ctx, cancel := context.WithCancelCause(context.Background())
	return drain{ctx, func() { cancel(errDraining) }}
}

// Draining says that a stream's context has ended because its server stops, and not because its client went away: there is
// still time to send a last message.
func Draining(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errDraining) }

// contextStream has another context than its stream, which is what interceptors are for: it ends when the server drains. Sends
// still work then, so that a handler can say goodbye.
type contextStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *contextStream) Context() context.Context { return s.ctx }

// drainStream also ends its receives when the server drains.
type drainStream struct {
	contextStream
	drain context.Context
}

// RecvMsg returns errDraining when the server drains while nothing arrives. The message of that receive must not be used
// again; generated code makes a new one for each.
func (s *drainStream) RecvMsg(m any) error {
	if s.drain.Err() != nil {
		return errDraining
	}
	received := make(chan error, 1)
	go func() { received <- s.ServerStream.RecvMsg(m) }()
	select {
	case err := <-received:
		return err
	case <-s.drain.Done():
		return errDraining
	}
}
