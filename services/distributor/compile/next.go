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
	t := touched(before.world, w)
	s := &State{
		world:     w,
		mesh:      keep(before.mesh, w.mesh()),
		bundle:    keep(before.bundle, w.bundle()),
		egress:    keep(before.egress, w.egress()),
		closed:    keep(before.closed, w.defaultAccess()),
		services:  writable(before.services, t.bodies),
		endpoints: writable(before.endpoints, t.endpoints),
		inbound:   writable(before.inbound, t.inbound),
		access:    writable(before.access, t.access),
		members:   before.members,
		index:     before.index,
	}
	s.compileMembers(before, t)
	s.compileServices(t)
	s.compileInbound(t)
	s.compileAccess(t)
	s.compileIndex(before, t)
	return s
}

// writable is a copy when some of it is compiled anew, and else the same map.
func writable[K comparable, V any](before map[K]V, touched map[K]bool) map[K]V {
	switch {
	case before == nil:
		return map[K]V{}
	case len(touched) == 0:
		return before
	default:
		return maps.Clone(before)
	}
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

// compileMembers keeps the lists of who wants to be an endpoint of which service, so that a workload that changes costs what
// its services are, and not what the mesh is. The lists are in no order.
func (s *State) compileMembers(before *State, t *touch) {
	if len(t.inbound) == 0 && s.members != nil {
		return
	}
	s.members = maps.Clone(before.members)
	if s.members == nil {
		s.members = map[model.Key][]*model.Workload{}
	}
	fresh := map[model.Key]bool{} // lists that belong to this state only
	edit := func(k model.Key, f func([]*model.Workload) []*model.Workload) {
		list := s.members[k]
		if !fresh[k] {
			list, fresh[k] = slices.Clone(list), true
		}
		if s.members[k] = f(list); len(s.members[k]) == 0 {
			delete(s.members, k)
		}
	}
	for key := range t.inbound {
		if was := before.world.Workloads[key]; was != nil {
			for k := range servicesOf(was) {
				edit(k, func(list []*model.Workload) []*model.Workload {
					return slices.DeleteFunc(list, func(wl *model.Workload) bool { return wl == was })
				})
			}
		}
		if now := s.world.Workloads[key]; now != nil {
			for k := range servicesOf(now) {
				edit(k, func(list []*model.Workload) []*model.Workload { return append(list, now) })
			}
		}
	}
}

func (s *State) compileServices(t *touch) {
	w := s.world
	if len(t.bodies) > 0 {
		s.compileBodies(t)
	}
	for k := range t.endpoints {
		if svc := w.Services[k]; svc != nil {
			put(s.endpoints, k, w.endpoints(svc, s.members[k]))
		} else {
			delete(s.endpoints, k)
		}
	}
}

func (s *State) compileBodies(t *touch) {
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
