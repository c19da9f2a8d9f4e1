package health

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/table"
)

// keep is how long the state of an endpoint that left the table is remembered: endpoints come back, for instance when a
// registration flaps.
const keep = 5 * time.Minute

// Registry holds the states of endpoints and sets. Reads are one atomic load; writes copy.
type Registry struct {
	start time.Time

	mu        sync.Mutex
	endpoints atomic.Pointer[map[string]*State]
	sets      atomic.Pointer[map[string]*Set]
	gone      map[string]time.Time // endpoint key -> when it was first missed; under mu
}

// Set is what is known of a set of endpoints as one table has it.
type Set struct {
	// Of is the set that States belongs to.
	Of *table.EndpointSet
	// States of the endpoints, index by index.
	States []*State
	// Cursor is the turn of round robin; it outlives tables.
	Cursor *atomic.Uint32
}

// NewRegistry makes an empty registry.
func NewRegistry() *Registry {
	r := &Registry{start: time.Now(), gone: map[string]time.Time{}}
	r.endpoints.Store(&map[string]*State{})
	r.sets.Store(&map[string]*Set{})
	return r
}

// Endpoint returns the state of the endpoint with this key, made on first use.
func (r *Registry) Endpoint(key string) *State {
	if s, ok := (*r.endpoints.Load())[key]; ok {
		return s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next := maps.Clone(*r.endpoints.Load())
	s := r.ensure(next, key)
	r.endpoints.Store(&next)
	return s
}

// Set returns the states of all endpoints of a set.
func (r *Registry) Set(set *table.EndpointSet) *Set {
	if s, ok := (*r.sets.Load())[set.Key]; ok && s.Of == set {
		return s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old, ok := (*r.sets.Load())[set.Key]
	if ok && old.Of == set {
		return old
	}
	s := &Set{Of: set, States: make([]*State, len(set.Endpoints)), Cursor: &atomic.Uint32{}}
	if ok {
		s.Cursor = old.Cursor
	}
	endpoints := maps.Clone(*r.endpoints.Load())
	for i, ep := range set.Endpoints {
		s.States[i] = r.ensure(endpoints, ep.Key)
	}
	sets := maps.Clone(*r.sets.Load())
	sets[set.Key] = s
	r.endpoints.Store(&endpoints)
	r.sets.Store(&sets)
	return s
}

// Reconcile forgets what t no longer has: sets at once, endpoints after a while. Call it after every swap of the table.
func (r *Registry) Reconcile(t *table.Table) {
	endpoints, sets := present(t)
	r.mu.Lock()
	defer r.mu.Unlock()
	states := maps.Clone(*r.endpoints.Load())
	now := time.Now()
	for key := range states {
		if endpoints[key] {
			delete(r.gone, key)
			continue
		}
		since, ok := r.gone[key]
		if !ok {
			r.gone[key] = now
		} else if now.Sub(since) >= keep && states[key].InFlight() == 0 {
			delete(r.gone, key)
			delete(states, key)
		}
	}
	r.endpoints.Store(&states)
	kept := maps.Clone(*r.sets.Load())
	maps.DeleteFunc(kept, func(key string, _ *Set) bool { return !sets[key] })
	r.sets.Store(&kept)
}

// Each calls f for every endpoint that is known, in no order.
func (r *Registry) Each(f func(key string, s *State)) {
	for key, s := range *r.endpoints.Load() {
		f(key, s)
	}
}

// ensure runs under mu, on a map that nobody else sees yet.
func (r *Registry) ensure(states map[string]*State, key string) *State {
	s, ok := states[key]
	if !ok {
		s = &State{start: r.start}
		states[key] = s
	}
	return s
}

// present lists the keys of the endpoints and sets that t has.
func present(t *table.Table) (endpoints, sets map[string]bool) {
	endpoints, sets = map[string]bool{}, map[string]bool{}
	if t == nil {
		return endpoints, sets
	}
	for set := range t.Sets() {
		if sets[set.Key] {
			continue
		}
		sets[set.Key] = true
		for _, ep := range set.Endpoints {
			endpoints[ep.Key] = true
		}
	}
	return endpoints, sets
}
