package fanouttest

import (
	"maps"
	"slices"
	"time"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
)

// View is what a sidecar holds at one moment.
type View struct {
	Held    map[string]*configpb.Resource
	Index   []string // names of services
	Removed []string
	Vector  model.Vector
	// Updates and Received (resources and shards) count since Connect.
	Updates  int
	Received int
	Current  bool
	Away     time.Duration
}

// Names lists the resources that are held, in order.
func (v View) Names() []string { return slices.Sorted(maps.Keys(v.Held)) }

// View is the state now.
func (s *Sidecar) View() View {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view()
}

func (s *Sidecar) view() View {
	v := View{
		Held: maps.Clone(s.held), Removed: slices.Clone(s.removed), Vector: s.vector,
		Updates: s.updates, Received: s.received, Current: s.current, Away: s.away,
	}
	for _, shard := range s.index {
		for _, e := range shard.GetEntries() {
			v.Index = append(v.Index, e.GetName())
		}
	}
	slices.Sort(v.Index)
	return v
}

// Until waits until the sidecar's state is as wanted, and returns it.
func (s *Sidecar) Until(what string, ok func(View) bool) View {
	s.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		v, changed, ended, err := s.view(), s.changed, s.ended, s.err
		s.mu.Unlock()
		if ok(v) {
			return v
		}
		if ended {
			s.t.Fatalf("%s: stream ended before %s: %v", s.name, what, err)
		}
		select {
		case <-changed:
		case <-timeout.C:
			s.t.Fatalf("%s: no %s; holds %v at %v", s.name, what, v.Names(), v.Vector)
		}
	}
}

// Reached waits until the sidecar has applied a vector and holds all that it asked for.
func (s *Sidecar) Reached(target model.Vector) View {
	s.t.Helper()
	return s.Until("reach "+target.Policy.String(), func(v View) bool { return v.Current && v.Vector.Reaches(target) })
}

// Ended waits for the end of the stream and returns why.
func (s *Sidecar) Ended() error {
	s.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		changed, ended, err := s.changed, s.ended, s.err
		s.mu.Unlock()
		if ended {
			return err
		}
		select {
		case <-changed:
		case <-timeout.C:
			s.t.Fatalf("%s: stream does not end", s.name)
		}
	}
}
