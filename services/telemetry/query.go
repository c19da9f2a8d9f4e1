package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

const (
	defaultWindow = 30 * time.Second
	// peerTimeout is how long an answer waits for a peer before it names it unreachable.
	peerTimeout = 2 * time.Second
	// maxPeerAnswer fits all edges of a full replica.
	maxPeerAnswer = 256 << 20
)

// QueryEdges answers for the whole mesh, or with local_only for this replica.
func (s *Service) QueryEdges(ctx context.Context, req *telemetrypb.QueryEdgesRequest) (*telemetrypb.QueryEdgesResponse, error) {
	window, err := checkQuery(req)
	if err != nil {
		return nil, err
	}
	now := s.deps.Now()
	if req.GetLocalOnly() {
		return s.localAnswer(now, window, req.GetCumulative()), nil
	}
	mesh, covered, unreachable := s.mesh(ctx, now, window, req.GetCumulative())
	if req.GetCumulative() {
		covered = max(now.Sub(mesh.oldest(now)), time.Second)
	}
	out := &telemetrypb.QueryEdgesResponse{UnreachableReplicas: unreachable, Window: durationpb.New(covered)}
	caller := rpc.CallerFrom(ctx)
	wanted := func(namespace string) bool {
		return (req.GetNamespace() == "" || namespace == req.GetNamespace()) && caller.Sees(namespace)
	}
	for _, r := range rows(mesh.clientFirst(), req.GetGroupBy(), wanted) {
		out.Rows = append(out.Rows, r.proto(covered))
	}
	return out, nil
}

func checkQuery(req *telemetrypb.QueryEdgesRequest) (time.Duration, error) {
	var fields []fault.Field
	window := defaultWindow
	if req.GetWindow() != nil {
		window = req.GetWindow().AsDuration()
		if window < time.Second || window > maxWindow {
			fields = append(fields, fault.Field{
				Path: "window", Problem: fmt.Sprintf("is %s; between 1 s and %s is possible", window, maxWindow),
			})
		}
	}
	if _, ok := telemetrypb.GroupBy_name[int32(req.GetGroupBy())]; !ok {
		fields = append(fields, fault.Field{Path: "group_by", Problem: fmt.Sprintf("%d is not a known grouping", req.GetGroupBy())})
	}
	return window, fault.InvalidFields("query", fields)
}

// local is what this replica knows, and how much of the window it covers.
func (s *Service) local(now time.Time, window time.Duration, cumulative bool) ([]runWindow, time.Duration) {
	if cumulative {
		return s.memory.whole(now), window
	}
	return s.memory.since(now, now.Add(-window)), min(window, max(now.Sub(s.started), time.Second))
}

func (s *Service) localAnswer(now time.Time, window time.Duration, cumulative bool) *telemetrypb.QueryEdgesResponse {
	runs, covered := s.local(now, window, cumulative)
	out := &telemetrypb.QueryEdgesResponse{Window: durationpb.New(covered)}
	for _, r := range runs {
		out.Sidecars = append(out.Sidecars, r.proto())
	}
	return out
}

// mesh merges what all replicas know. The covered window is that of the replica that has been there longest: sidecars that
// reported to a younger one did so to another before.
func (s *Service) mesh(ctx context.Context, now time.Time, window time.Duration, cumulative bool) (merged, time.Duration, []string) {
	runs, covered := s.local(now, window, cumulative)
	all := merged{}
	all.take(runs)
	answers, unreachable := s.askPeers(ctx, &telemetrypb.QueryEdgesRequest{
		Window: durationpb.New(window), LocalOnly: true, Cumulative: cumulative,
	})
	for _, a := range answers {
		for _, r := range a.GetSidecars() {
			all.take([]runWindow{runWindowFrom(r)})
		}
		covered = max(covered, a.GetWindow().AsDuration())
	}
	if cumulative {
		all.newest()
	}
	return all, covered, unreachable
}

// askPeers asks every other replica at once and names those that did not answer.
func (s *Service) askPeers(ctx context.Context, req *telemetrypb.QueryEdgesRequest) (answers []*telemetrypb.QueryEdgesResponse, unreachable []string) {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range s.deps.Peers.List() {
		wg.Go(func() {
			answer, err := s.askPeer(ctx, p, req)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.deps.Log.Debug("peer did not answer", zap.String("replica", p.Replica), zap.Error(err))
				unreachable = append(unreachable, cmp.Or(p.Address, p.Replica))
				return
			}
			answers = append(answers, answer)
		})
	}
	wg.Wait()
	slices.Sort(unreachable)
	return answers, unreachable
}

func (s *Service) askPeer(ctx context.Context, p rpc.Peer, req *telemetrypb.QueryEdgesRequest) (*telemetrypb.QueryEdgesResponse, error) {
	conn, err := s.deps.Peers.Dial(p)
	if err != nil {
		return nil, fmt.Errorf("dial replica %q: %w", p.Replica, err)
	}
	return telemetrypb.NewTelemetryServiceClient(conn).QueryEdges(ctx, req, grpc.MaxCallRecvMsgSize(maxPeerAnswer))
}
