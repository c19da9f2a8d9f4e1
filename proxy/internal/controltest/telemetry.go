package controltest

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
)

// Telemetry keeps the newest counters of every edge of every sidecar.
type Telemetry struct {
	telemetrypb.UnimplementedTelemetryServiceServer

	mu      sync.Mutex
	edges   map[string]*telemetrypb.EdgeCounters
	changed chan struct{}
}

// Report takes reports.
func (s *Telemetry) Report(st telemetrypb.TelemetryService_ReportServer) error {
	if _, err := caller(st.Context()); err != nil {
		return err
	}
	for {
		r, err := st.Recv()
		if err != nil {
			return nil
		}
		if err := s.take(r); err != nil {
			return err
		}
		if err := st.Send(&telemetrypb.ReportResponse{}); err != nil {
			return err
		}
	}
}

func (s *Telemetry) take(r *telemetrypb.ReportRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range r.GetEdges() {
		name, err := proto.MarshalOptions{Deterministic: true}.Marshal(e.GetEdge())
		if err != nil {
			return err
		}
		s.edges[r.GetSidecar()+" "+string(name)] = e
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// Await waits until an edge is as wanted and returns it.
func (s *Telemetry) Await(ctx context.Context, want func(*telemetrypb.EdgeCounters) bool) (*telemetrypb.EdgeCounters, error) {
	var found *telemetrypb.EdgeCounters
	err := await(ctx, func() <-chan struct{} {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.changed
	}, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range s.edges {
			if want(e) {
				found = e
				return true
			}
		}
		return false
	})
	return found, err
}
