package compile

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/weft-mesh/weft/services/internal/model"
)

// addresses finds what is at an IP address. It is made when the first sidecar asks, because few do: only those whose programs
// call workloads straight.
type addresses struct {
	once sync.Once
	at   map[netip.Addr][]located
}

// located is one endpoint with the service that it is of.
type located struct {
	service  *model.Service
	endpoint *Endpoint
}

// Address is what the mesh has at an IP address, also when that is nothing. Its value depends on the state alone.
func (s *State) Address(a netip.Addr) *Resource {
	s.addresses.once.Do(s.locate)
	body := &Address{Address: a}
	var origins []model.Ref
	list := s.addresses.at[a]
	for i, l := range list {
		if i > 0 && list[i-1].endpoint.TargetPort == l.endpoint.TargetPort && list[i-1].endpoint.UDP == l.endpoint.UDP {
			continue // another one has the port
		}
		key := model.Key{Namespace: l.service.Namespace, Name: l.endpoint.Workload}
		if wl := s.world.Workloads[key]; wl != nil {
			origins = append(origins, ref(model.KindWorkload, wl.Meta))
		}
		origins = append(origins, ref(model.KindService, l.service.Meta))
		body.Ports = append(body.Ports, AddressPort{l.service.Key.String(), l.protocol(), *l.endpoint})
	}
	slices.SortFunc(origins, compareRefs)
	return s.world.resource(AddressName(a), "address", body, slices.Compact(origins))
}

// locate lists the endpoints of every address in order of port, the one that counts for a port first. Loopback is everybody's
// own, and not to be asked for.
func (s *State) locate() {
	at := map[netip.Addr][]located{}
	for k, r := range s.endpoints {
		set, _ := r.Body.(*EndpointSet)
		for i := range set.Endpoints {
			if e := &set.Endpoints[i]; !e.Address.IsLoopback() {
				at[e.Address] = append(at[e.Address], located{s.world.Services[k], e})
			}
		}
	}
	for _, list := range at {
		slices.SortFunc(list, func(a, b located) int {
			return cmp.Or(
				cmp.Compare(a.endpoint.TargetPort, b.endpoint.TargetPort),
				order(a.endpoint.UDP, b.endpoint.UDP),
				cmp.Compare(a.lateness(), b.lateness()),
				cmp.Compare(a.service.Key.String(), b.service.Key.String()),
				cmp.Compare(a.endpoint.Workload, b.endpoint.Workload),
				cmp.Compare(a.endpoint.Port, b.endpoint.Port),
			)
		})
	}
	s.addresses.at = at
}

// lateness is lower for who is more alive: an address that was given to another workload has the old one for a while.
func (l located) lateness() int {
	switch {
	case l.endpoint.Unknown:
		return 2
	case l.endpoint.Draining:
		return 1
	}
	return 0
}

func (l located) protocol() model.Protocol {
	for _, p := range l.service.Ports {
		if p.Port == l.endpoint.Port && (p.Protocol == model.ProtocolUndeclared || p.Protocol.UDP() == l.endpoint.UDP) {
			return p.Protocol
		}
	}
	return model.ProtocolUndeclared
}

// diffAddresses lists the addresses of endpoints that differ between two states of a service's endpoints.
func diffAddresses(out map[netip.Addr]bool, before, now *Resource) {
	a, b := endpointsIn(before), endpointsIn(now)
	for len(a) > 0 || len(b) > 0 {
		switch order := compareEndpoints(a, b); {
		case order < 0:
			out[a[0].Address] = true
			a = a[1:]
		case order > 0:
			out[b[0].Address] = true
			b = b[1:]
		default:
			if !sameEndpoint(&a[0], &b[0]) {
				out[a[0].Address], out[b[0].Address] = true, true
			}
			a, b = a[1:], b[1:]
		}
	}
}

func endpointsIn(r *Resource) []Endpoint {
	if r == nil {
		return nil
	}
	set, _ := r.Body.(*EndpointSet)
	return set.Endpoints
}

// compareEndpoints says which of two lists has the endpoint that comes first; an empty list has none.
func compareEndpoints(a, b []Endpoint) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return cmp.Or(cmp.Compare(a[0].Workload, b[0].Workload), cmp.Compare(a[0].Port, b[0].Port), cmp.Compare(a[0].TargetPort, b[0].TargetPort), order(a[0].UDP, b[0].UDP))
}

func sameEndpoint(a, b *Endpoint) bool {
	return a.Address == b.Address && a.MeshPort == b.MeshPort && a.ID == b.ID && a.Unknown == b.Unknown && a.Draining == b.Draining &&
		maps.Equal(a.Labels, b.Labels)
}

// samePorts says whether two states of a service have the same ports, so that only its routes can differ.
func samePorts(a, b *Resource) bool {
	if a == nil || b == nil {
		return false
	}
	before, _ := a.Body.(*Service)
	now, _ := b.Body.(*Service)
	return slices.Equal(before.Ports, now.Ports)
}
