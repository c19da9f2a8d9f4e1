package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/control"
)

// readyEvery is how often a process that is to take over looks whether it can.
const readyEvery = 5 * time.Millisecond

// accession begins the sidecar's tenure: at once for the first process, and for one that takes over once it serves and the old
// one has let go.
func (s *sidecar) accession(ctx context.Context) error {
	if s.from != nil {
		if err := s.succeed(ctx); err != nil {
			s.from.refuse(err)
			return fmt.Errorf("take over: %w", err)
		}
		s.from.close()
		if ctx.Err() != nil {
			return nil
		}
	} else {
		s.traffic.open()
	}
	s.tenure.Begin()
	<-ctx.Done()
	return nil
}

// succeed waits until this process can serve, serves, and waits until the old one does not any more.
func (s *sidecar) succeed(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	word := make(chan error, 1)
	go func() {
		_, err := s.from.conn.Expect(ctx, control.Yours)
		word <- err
	}()
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for s.configured() != nil {
		select {
		case <-tick.C:
		case err := <-word:
			return fmt.Errorf("the old process has changed its mind: %w", err)
		case <-ctx.Done():
			<-word //nolint:errcheck // what came after the end tells nothing
			return nil
		}
	}
	s.traffic.open()
	if err := s.from.conn.Send(control.Message{Kind: control.Ready}); err != nil {
		return err
	}
	err := <-word
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, io.EOF):
		// It would have ended this process, had it not wanted to go. It is dead.
		s.log.Warn("the old process ended before it said that it had let go")
	case err != nil:
		return err
	}
	s.log.Info("this process has taken over", zap.Strings("sockets", s.listeners.names()))
	return nil
}

// follow keeps a process that has given its place away in step with the one that has it, for as long as it has connections:
// who may not call any more has to be cut off here, too.
func (s *sidecar) follow(ctx context.Context) error {
	select {
	case <-s.tenure.Over():
		return s.config.Follow(ctx)
	case <-ctx.Done():
		return nil
	}
}

// departure ends a process that has given its place away, when it has no connection left.
func (s *sidecar) departure(ctx context.Context) error {
	select {
	case <-s.tenure.Over():
	case <-ctx.Done():
		return nil
	}
	for range directions {
		select {
		case <-s.traffic.drained:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
