package gateway

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/internal/buildinfo"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

const (
	// probeTimeout is how long a service may take to say that it is there.
	probeTimeout = 2 * time.Second
)

// GetStatus says how every component and sidecar is. What cannot be asked is a component that is not ready, never an error.
func (s *Service) GetStatus(ctx context.Context, _ *adminpb.GetStatusRequest) (*adminpb.GetStatusResponse, error) {
	now := s.deps.Now()
	out := &adminpb.GetStatusResponse{Components: s.components(ctx), ReadTime: timestamppb.New(now)}
	if m := s.deps.Trust.Load(); m != nil {
		out.TrustDomain = m.ID.TrustDomain().Name()
	}
	sidecars, err := s.sidecars(ctx)
	if err != nil {
		out.Components = blame(out.Components, distributor, err)
	} else {
		out.Sidecars, out.Compiled = sidecarsOf(sidecars.GetSidecars(), seen(ctx)), sidecars.GetCompiled()
		for _, replica := range sidecars.GetUnreachableReplicas() {
			out.Components = append(out.Components, &adminpb.ComponentStatus{
				Component: distributor, Replica: replica, Message: "cannot be reached by its peers; its sidecars are not shown",
			})
		}
	}
	slices.SortStableFunc(out.Components, func(a, b *adminpb.ComponentStatus) int {
		return cmp.Or(cmp.Compare(a.GetComponent(), b.GetComponent()), cmp.Compare(a.GetReplica(), b.GetReplica()))
	})
	out.GuaranteedOutage, out.LimitingSidecar = guaranteed(out.GetSidecars(), now)
	return out, nil
}

func (s *Service) sidecars(ctx context.Context) (*configpb.ListSidecarsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*probeTimeout)
	defer cancel()
	conn, err := s.deps.Dial(distributor)
	if err != nil {
		return nil, fmt.Errorf("dial distributor: %w", err)
	}
	return configpb.NewConvergenceServiceClient(conn).ListSidecars(ctx, &configpb.ListSidecarsRequest{})
}

// blame notes that a component answers its probe but not what it was asked.
func blame(components []*adminpb.ComponentStatus, name string, err error) []*adminpb.ComponentStatus {
	for _, c := range components {
		if c.GetComponent() == name && !c.GetReady() {
			return components // it is known to be down, and why
		}
	}
	return append(components, &adminpb.ComponentStatus{Component: name, Message: "does not list its sidecars: " + plain(err)})
}

// components probes every service at once; the gateway itself is there, or nobody would ask.
func (s *Service) components(ctx context.Context) []*adminpb.ComponentStatus {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := []*adminpb.ComponentStatus{{
		Component: "gateway", Replica: s.deps.Replica, Ready: true, BuildVersion: buildinfo.Version(),
	}}
	for _, service := range []string{discovery, distributor, identity, policy, telemetry} {
		wg.Go(func() {
			found := s.probe(ctx, service)
			mu.Lock()
			defer mu.Unlock()
			out = append(out, found...)
		})
	}
	for _, p := range s.deps.Peers() {
		out = append(out, &adminpb.ComponentStatus{Component: "gateway", Replica: p, Ready: true, Message: "holds its lease; not asked"})
	}
	wg.Wait()
	return out
}

// probe asks every replica of a service how it is.
func (s *Service) probe(ctx context.Context, service string) []*adminpb.ComponentStatus {
	conns, err := s.deps.DialEach(service)
	if err != nil {
		return []*adminpb.ComponentStatus{{Component: service, Message: err.Error()}}
	}
	out := make([]*adminpb.ComponentStatus, len(conns))
	var wg sync.WaitGroup
	for i, replica := range slices.Sorted(maps.Keys(conns)) {
		wg.Go(func() { out[i] = s.ask(ctx, service, replica, conns[replica]) })
	}
	wg.Wait()
	return out
}

func (s *Service) ask(ctx context.Context, service, replica string, conn grpc.ClientConnInterface) *adminpb.ComponentStatus {
	c := &adminpb.ComponentStatus{Component: service, Replica: replica}
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	switch {
	case err != nil:
		c.Message = plain(err)
	case answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		c.Message = "answers, but says that it does not serve"
	default:
		c.Ready = true
	}
	if replica == s.deps.Replica {
		c.BuildVersion = buildinfo.Version()
	}
	return c
}

// plain is an error as people read it: without the words of gRPC around the message.
func plain(err error) string { return rpc.FaultOf(err).Error() }

// guaranteed is how long identity can be away before the first SVID of a connected sidecar runs out.
func guaranteed(sidecars []*configpb.SidecarStatus, now time.Time) (*durationpb.Duration, string) {
	var first *configpb.SidecarStatus
	for _, c := range sidecars {
		if c.GetConnected() && c.GetSvidExpireTime() != nil &&
			(first == nil || c.GetSvidExpireTime().AsTime().Before(first.GetSvidExpireTime().AsTime())) {
			first = c
		}
	}
	if first == nil {
		return nil, ""
	}
	return durationpb.New(max(first.GetSvidExpireTime().AsTime().Sub(now), 0)), nameOf(first)
}

func nameOf(c *configpb.SidecarStatus) string { return c.GetNamespace() + "/" + c.GetWorkload() }
