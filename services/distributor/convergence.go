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
// pace at least. A change here is looked at sooner, but not more often than hurry, nor so often that looking takes more than
// one part in calm of the time (thousands of sidecars that are looked at are thousands that acknowledge at the same time), but
// after lull at the latest.
const (
	pace  = 100 * time.Millisecond
	hurry = 10 * time.Millisecond
	calm  = 5
	lull  = 300 * time.Millisecond
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
		return &configpb.GetConvergenceResponse{Convergence: c.service.hub.Convergence(target), Connected: c.service.hub.Connected()}, nil
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
		changed, looked := c.service.hub.Changed(), time.Now()
		now := c.everywhere(ctx, target)
		took := time.Since(looked)
		due := time.Since(sent) >= pace && !proto.Equal(now, last)
		if now.GetConverged() || due {
			if err := stream.Send(&configpb.WatchConvergenceResponse{Convergence: now}); err != nil || now.GetConverged() {
				return err
			}
			last, sent = now, time.Now()
		}
		if err := wait(ctx, changed, min(max(hurry, calm*took), lull)); err != nil {
			return err
		}
	}
}

// wait returns after a change, or after some time, but never at once.
func wait(ctx context.Context, changed <-chan struct{}, atLeast time.Duration) error {
	least := time.NewTimer(atLeast)
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
	answers, unreachable := ask(ctx, c.service, func(ctx context.Context, client configpb.ConvergenceServiceClient) (*configpb.GetConvergenceResponse, error) {
		return client.GetConvergence(ctx, &configpb.GetConvergenceRequest{Target: modelpb.VectorToProto(target), LocalOnly: true})
	})
	if len(answers) > 0 {
		out.Affected -= uint32(len(out.GetAway()))
		out.Away = c.away(out.GetAway(), answers)
		for _, a := range answers {
			join(out, a.GetConvergence())
		}
		out.Affected += uint32(len(out.GetAway()))
	}
	out.UnreachableReplicas = unreachable
	// A replica that nobody can ask may still be serving what was there before.
	out.Converged = out.GetConverged() && len(unreachable) == 0
	if !out.GetConverged() {
		out.Took = nil
	}
	return out
}

// away joins who each replica, and this one, misses, less those that another one has.
func (c *convergence) away(mine []string, answers []*configpb.GetConvergenceResponse) []string {
	connected := map[string]bool{}
	for _, a := range answers {
		for _, name := range a.GetConnected() {
			connected[name] = true
		}
	}
	theirs := 0
	out := slices.DeleteFunc(mine, func(name string) bool { return connected[name] })
	for _, a := range answers {
		for _, name := range a.GetConvergence().GetAway() {
			if !connected[name] {
				out = append(out, name)
				theirs++
			}
		}
	}
	if theirs == 0 {
		return out
	}
	for _, name := range c.service.hub.Connected() {
		connected[name] = true
	}
	out = slices.DeleteFunc(out, func(name string) bool { return connected[name] })
	slices.Sort(out)
	return slices.Compact(out)
}

// join adds another replica's comparison, but for who is away.
func join(out, in *configpb.Convergence) {
	out.Converged = out.GetConverged() && in.GetConverged()
	out.Compiling = out.GetCompiling() || in.GetCompiling()
	out.Affected += in.GetAffected() - uint32(len(in.GetAway()))
	out.Applied += in.GetApplied()
	out.Behind = append(out.Behind, in.GetBehind()...)
	slices.Sort(out.Behind)
	out.Refused = append(out.Refused, in.GetRefused()...)
	slices.SortFunc(out.Refused, func(a, b *configpb.Refusal) int { return strings.Compare(a.GetSidecar(), b.GetSidecar()) })
	if in.GetTook().AsDuration() > out.GetTook().AsDuration() {
		out.Took = in.GetTook()
	}
}
