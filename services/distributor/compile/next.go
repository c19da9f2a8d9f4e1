package compile

import (
	"maps"
	"slices"

	"github.com/weft-mesh/weft/services/internal/model"
)

// Next compiles a world. With the state before it, it compiles only what changed objects touch and shares the rest; the result
// is the same as with nil, but for MadeFrom of what did not change.
func Next(before *State, w *World) *State {
	if before == nil || before.world.Bundle.TrustDomain != w.Bundle.TrustDomain {
		before = &State{world: &World{Bundle: &Bundle{}}}
	}
	s := &State{
		world:     w,
		mesh:      keep(before.mesh, w.mesh()),
		bundle:    keep(before.bundle, w.bundle()),
		egress:    keep(before.egress, w.egress()),
		closed:    keep(before.closed, w.defaultAccess()),
		services:  maps.Clone(before.services),
		endpoints: maps.Clone(before.endpoints),
		inbound:   maps.Clone(before.inbound),
		access:    maps.Clone(before.access),
		index:     before.index,
	}
	if s.services == nil {
		s.services, s.endpoints = map[model.Key]*Resource{}, map[model.Key]*Resource{}
		s.inbound, s.access = map[model.Key]*Resource{}, map[Account]*Resource{}
	}
	t := touched(before.world, w)
	s.compileServices(before, t)
	s.compileInbound(t)
	s.compileAccess(t)
	s.compileIndex(before, t)
	return s
}

// keep returns the resource before when nothing about the new one differs, so that whoever holds it sees the same pointer; a
// resource with the same version keeps the vector at which it changed.
func keep(before, now *Resource) *Resource {
	if before == nil || before.Version != now.Version {
		return now
	}
	if slices.Equal(before.Origins, now.Origins) {
		return before
	}
	now.MadeFrom = before.MadeFrom
	return now
}

// put stores a fresh resource under its key.
func put[K comparable](m map[K]*Resource, k K, now *Resource) { m[k] = keep(m[k], now) }

func (s *State) compileServices(before *State, t *touch) {
	w := s.world
	routes := map[model.Key][]*model.Route{}
	for _, r := range w.Routes {
		if k := serviceOf(r); t.bodies[k] {
			routes[k] = append(routes[k], r)
		}
	}
	for k := range t.bodies {
		if svc := w.Services[k]; svc != nil {
			put(s.services, k, w.service(svc, routes[k]))
		} else {
			delete(s.services, k)
		}
	}
	workloads := map[model.Key][]*model.Workload{}
	for _, wl := range w.Workloads {
		for k := range servicesOf(wl) {
			if t.endpoints[k] {
				workloads[k] = append(workloads[k], wl)
			}
		}
	}
	for k := range t.endpoints {
		if svc := w.Services[k]; svc != nil {
			put(s.endpoints, k, w.endpoints(svc, workloads[k]))
		} else {
			delete(s.endpoints, k)
		}
	}
}

func (s *State) compileInbound(t *touch) {
	for k := range t.inbound {
		if wl := s.world.Workloads[k]; wl != nil {
			put(s.inbound, k, s.world.inbound(wl))
		} else {
			delete(s.inbound, k)
		}
	}
}

func (s *State) compileAccess(t *touch) {
	if len(t.access) == 0 {
		return
	}
	policies := map[Account][]*model.AccessPolicy{}
	for _, p := range s.world.Policies {
		if a := destinationOf(p); t.access[a] {
			policies[a] = append(policies[a], p)
		}
	}
	for a := range t.access {
		if len(policies[a]) > 0 {
			put(s.access, a, s.world.access(policies[a]))
		} else {
			delete(s.access, a)
		}
	}
}

// compileIndex runs after compileServices: whether a service is meshed is read from its endpoints.
func (s *State) compileIndex(before *State, t *touch) {
	names := map[string]bool{}
	fresh := map[uint32][]IndexEntry{}
	for k := range t.endpoints {
		number := ShardOf(k)
		names[k.String()] = true
		if fresh[number] == nil {
			fresh[number] = []IndexEntry{}
		}
		if svc := s.world.Services[k]; svc != nil {
			fresh[number] = append(fresh[number], indexEntry(svc, s.endpoints[k]))
		}
	}
	for number := range s.index {
		n := uint32(number)
		if entries, ok := fresh[n]; ok || s.index[number] == nil {
			s.index[number] = shard(n, before.index[number], names, entries)
		}
	}
}
