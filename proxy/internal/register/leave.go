package register

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

var errAway = errors.New("deregister: discovery is not connected: the lease will run out instead")

// Deregister takes the workload out of the catalogue now and returns the revision at which it is gone; nil when it was never
// in it. From the call on the workload is not registered again. A second call returns the same revision; after a failure a
// second call tries again.
func (r *Registrar) Deregister(ctx context.Context) (*typepb.SourceRevision, error) {
	r.mu.Lock()
	conn, registered, gone, removed := r.conn, r.state.Registered, r.state.Gone, r.removed
	r.leaving = true
	r.mu.Unlock()
	if gone || conn == nil && !registered {
		r.stop()
		return removed, nil
	}
	if conn == nil {
		r.stop()
		return nil, errAway
	}
	revision, err := deregister(ctx, conn, r.cfg.Workload.GetMetadata().GetName())
	// The stream ends after the call: it shares the call's connection.
	r.stop()
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.state.Gone, r.state.Registered, r.removed = true, false, revision
	r.mu.Unlock()
	r.log.Info("workload deregistered", zap.Uint64("revision", revision.GetSeq()))
	return revision, nil
}

func deregister(ctx context.Context, conn grpc.ClientConnInterface, name string) (*typepb.SourceRevision, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answer, err := discoverypb.NewDiscoveryServiceClient(conn).Deregister(ctx, &discoverypb.DeregisterRequest{Name: name})
	if status.Code(err) == codes.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("deregister: %w", err)
	}
	return answer.GetRevision(), nil
}

// stop ends the stream for good.
func (r *Registrar) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.out:
	default:
		close(r.out)
	}
}
