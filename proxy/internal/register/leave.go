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
// in it. From then on the workload is not registered again, and a second call returns the same revision. After an error
// everything is as before: the workload stays registered, and a second call tries again.
func (r *Registrar) Deregister(ctx context.Context) (*typepb.SourceRevision, error) {
	r.mu.Lock()
	conn, asked, gone, removed := r.conn, r.asked, r.state.Gone, r.removed
	r.leaving = gone || conn != nil || !asked
	if !gone && conn != nil {
		r.calls.Add(1)
		defer r.calls.Done()
	}
	r.mu.Unlock()
	switch {
	case gone:
		return removed, nil
	case !asked:
		r.stop()
		return nil, nil
	case conn == nil:
		return nil, errAway
	}
	revision, err := deregister(ctx, conn, r.cfg.Workload.GetMetadata().GetName())
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.leaving = false
		return nil, err
	}
	r.state.Gone, r.state.Registered, r.removed = true, false, revision
	r.stopLocked() // the stream ends after the call, whose connection it shares
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
	r.stopLocked()
}

func (r *Registrar) stopLocked() {
	select {
	case <-r.out:
	default:
		close(r.out)
	}
}
