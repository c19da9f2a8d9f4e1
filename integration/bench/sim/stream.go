package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/backoff"
)

// errMove ends a stream whose replica asked for it, or whose sidecar was told to.
var errMove = errors.New("move")

// Delays between streams: those of the sidecar's uplink.
const (
	firstDelay = 100 * time.Millisecond
	lastDelay  = 3 * time.Second
)

// follow keeps a config stream going until ctx ends, as the sidecar's uplink does: begin anywhere, and go to the next replica
// after each end.
func (s *sidecar) follow(ctx context.Context) {
	wait := backoff.New(firstDelay, lastDelay)
	next := rand.Int()
	for ctx.Err() == nil {
		addresses := s.fleet.distributors()
		address := addresses[next%len(addresses)]
		began := time.Now()
		err := s.converse(ctx, address)
		if ctx.Err() != nil {
			return
		}
		s.mu.Lock()
		if s.synced != 0 {
			s.synced, s.lost = 0, time.Now().UnixNano()
		}
		s.mu.Unlock()
		s.fleet.ended(err)
		next = (next + 1) % len(addresses)
		if errors.Is(err, errMove) {
			next = rand.Int()
			continue
		}
		if time.Since(began) >= lastDelay {
			wait.Reset()
		}
		if wait.Wait(ctx) != nil {
			return
		}
	}
}

// converse is one stream.
func (s *sidecar) converse(ctx context.Context, address string) error {
	conn, err := dial(s.source, "distributor", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := configpb.NewConfigServiceClient(conn).Stream(ctx)
	if err != nil {
		return fmt.Errorf("open config stream: %w", err)
	}
	s.mu.Lock()
	s.replica, s.drop = address, func() { cancel(errMove) }
	open := s.held.open(s.Sidecar)
	s.mu.Unlock()
	_ = stream.Send(&configpb.StreamRequest{Request: &configpb.StreamRequest_Open{Open: open}}) // Recv says why when it fails
	for {
		s.listen(ctx)
		response, err := stream.Recv()
		switch {
		case errors.Is(context.Cause(ctx), errMove):
			return errMove
		case err != nil:
			return fmt.Errorf("config stream: %w", err)
		case response.GetGoAway() != nil:
			time.AfterFunc(rand.N(max(response.GetGoAway().GetWithin().AsDuration(), 1)), func() { cancel(errMove) })
		case response.GetUpdate() != nil:
			if err := s.update(ctx, stream, response.GetUpdate()); err != nil {
				return err
			}
		}
	}
}

// listen returns at once unless the sidecar is deaf.
func (s *sidecar) listen(ctx context.Context) {
	for s.behaves() == Deaf && ctx.Err() == nil {
		select {
		case <-s.behaved:
		case <-ctx.Done():
		}
	}
}

// update applies and acknowledges.
func (s *sidecar) update(ctx context.Context, stream configpb.ConfigService_StreamClient, u *configpb.Update) error {
	s.mu.Lock()
	err := s.held.apply(u)
	current := s.held.current
	s.mu.Unlock()
	if err != nil {
		return err
	}
	switch s.behaves() {
	case Mute:
		return nil
	case Slow:
		if backoff.Sleep(ctx, slowness) != nil {
			return errMove
		}
	}
	if err := stream.Send(&configpb.StreamRequest{Request: &configpb.StreamRequest_Ack{Ack: &configpb.Ack{Nonce: u.GetNonce()}}}); err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	now := time.Now().UnixNano()
	s.fleet.acked(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.synced == 0 && current && ctx.Err() == nil {
		s.synced = now
	}
	s.acks = append(s.acks, ack{
		at:        now,
		policy:    revision(u.GetVector(), typepb.Source_SOURCE_POLICY).GetSeq(),
		discovery: revision(u.GetVector(), typepb.Source_SOURCE_DISCOVERY).GetSeq(),
		resources: len(u.GetResources()) + len(u.GetRemoved()), shards: len(u.GetIndex()),
	})
	return nil
}
