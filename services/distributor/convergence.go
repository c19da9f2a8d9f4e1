package distributor

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// Rhythm of WatchConvergence: answers that are not the last go out at this pace at most, and other replicas are asked at this
// pace at least. A change here is looked at sooner, but not more often than hurry.
const (
	pace  = 100 * time.Millisecond
	hurry = 10 * time.Millisecond
)

// convergence answers who has applied what.
type convergence struct {
	configpb.UnimplementedConvergenceServiceServer
	service *Service
}

var _ configpb.ConvergenceServiceServer = (*convergence)(nil)

// GetConvergence compares once.
func (c *convergence) GetConvergence(ctx context.Context, r *configpb.GetConvergenceRequest) (*configpb.GetConvergenceResponse, error) {
	target, err := modelpb.VectorFromProto(r.GetTarget())
	if err != nil {
		return nil, err
	}
	if r.GetLocalOnly() {
		return &configpb.GetConvergenceResponse{Convergence: c.service.hub.Convergence(target)}, nil
	}
	return &configpb.GetConvergenceResponse{Convergence: c.everywhere(ctx, target)}, nil
}

// WatchConvergence compares until the target is reached.
func (c *convergence) WatchConvergence(r *configpb.WatchConvergenceRequest, stream configpb.ConvergenceService_WatchConvergenceServer) error {
	ctx := stream.Context()
	target, err := modelpb.VectorFromProto(r.GetTarget())
	if err != nil {
		return err
	}
	var last *configpb.Convergence
	var sent time.Time
	for {
		changed := c.service.hub.Changed()
		now := c.everywhere(ctx, target)
		due := time.Since(sent) >= pace && !proto.Equal(now, last)
		if now.GetConverged() || due {
			if err := stream.Send(&configpb.WatchConvergenceResponse{Convergence: now}); err != nil || now.GetConverged() {
				return err
			}
			last, sent = now, time.Now()
		}
		if err := wait(ctx, changed); err != nil {
			return err
		}
	}
}

// wait returns after a change, or after some time, but never at once.
func wait(ctx context.Context, changed <-chan struct{}) error {
	least := time.NewTimer(hurry)
	defer least.Stop()
	most := time.NewTimer(pace)
	defer most.Stop()
	select {
	case <-changed:
	case <-most.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-least.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// everywhere joins the comparison of this replica with those of the others.
func (c *convergence) everywhere(ctx context.Context, target model.Vector) *configpb.Convergence {
	out := c.service.hub.Convergence(target)
	connected := names(c.service.hub.Sidecars())
	answers, unreachable := ask(ctx, c.service, func(ctx context.Context, client configpb.ConvergenceServiceClient) (answer, error) {
		comparison, err := client.GetConvergence(ctx, &configpb.GetConvergenceRequest{Target: modelpb.VectorToProto(target), LocalOnly: true})
		if err != nil {
			return answer{}, err
		}
		sidecars, err := client.ListSidecars(ctx, &configpb.ListSidecarsRequest{LocalOnly: true})
		return answer{comparison.GetConvergence(), sidecars.GetSidecars()}, err
	})
	out.Affected -= uint32(len(out.GetAway()))
	for _, a := range answers {
		join(out, a.convergence)
		for name := range names(a.sidecars) {
			connected[name] = true
		}
	}
	out.Away = slices.DeleteFunc(out.GetAway(), func(name string) bool { return connected[name] })
	slices.Sort(out.Away)
	out.Away = slices.Compact(out.Away)
	out.Affected += uint32(len(out.GetAway()))
	out.UnreachableReplicas = unreachable
	// A replica that nobody can ask may still be serving what was there before.
	out.Converged = out.GetConverged() && len(unreachable) == 0
	if !out.GetConverged() {
		out.Took = nil
	}
	return out
}

// answer is what another replica says of its own streams.
type answer struct {
	convergence *configpb.Convergence
	sidecars    []*configpb.SidecarStatus
}

// join adds another replica's comparison; whoever is away counts only at the end.
func join(out, in *configpb.Convergence) {
	out.Converged = out.GetConverged() && in.GetConverged()
	out.Compiling = out.GetCompiling() || in.GetCompiling()
	out.Affected += in.GetAffected() - uint32(len(in.GetAway()))
	out.Applied += in.GetApplied()
	out.Behind = append(out.Behind, in.GetBehind()...)
	slices.Sort(out.Behind)
	out.Away = append(out.Away, in.GetAway()...)
	out.Refused = append(out.Refused, in.GetRefused()...)
	slices.SortFunc(out.Refused, func(a, b *configpb.Refusal) int { return strings.Compare(a.GetSidecar(), b.GetSidecar()) })
	if in.GetTook().AsDuration() > out.GetTook().AsDuration() {
		out.Took = in.GetTook()
	}
}

func names(list []*configpb.SidecarStatus) map[string]bool {
	out := make(map[string]bool, len(list))
	for _, s := range list {
		out[s.GetNamespace()+"/"+s.GetWorkload()] = true
	}
	return out
}
