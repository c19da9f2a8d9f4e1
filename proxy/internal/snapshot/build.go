package snapshot

import (
	"net/netip"

	"github.com/weft-mesh/weft/proxy/internal/table"
)

// Retry budget until the mesh's own is known.
const (
	defaultRetryPercent = 20
	defaultRetryMin     = 10
)

// Table builds the table that the stages route by. Endpoint sets are shared between all rules that mean the same service and
// labels, and their endpoints with earlier tables.
func (s *State) Table(sequence uint64) *table.Table {
	b := &builder{state: s, sets: map[string]*table.EndpointSet{}}
	t := &table.Table{
		Mesh:      b.mesh(),
		Index:     s.index,
		Services:  make(map[string]*table.Service),
		Addresses: make(map[netip.Addr]*table.Address),
		Egress:    b.egress(),
		Sequence:  sequence,
	}
	if h := s.held[inboundName]; h != nil {
		t.Inbound = h.value.(*table.Inbound)
	}
	if h := s.held[accessName]; h != nil {
		t.Access = h.value.(*table.Access)
	}
	for _, h := range s.held {
		switch body := h.value.(type) {
		case *service:
			t.Services[body.name] = b.service(body, t.Mesh.Balancing)
		case *table.Address:
			t.Addresses[body.Address] = body
		}
	}
	return t
}

type builder struct {
	state *State
	sets  map[string]*table.EndpointSet
}

func (b *builder) mesh() table.Mesh {
	if h := b.state.held[meshName]; h != nil {
		mesh := *h.value.(*table.Mesh)
		if b.state.owner.Strict {
			mesh.MTLS = table.Strict
		}
		return mesh
	}
	return table.Mesh{
		TrustDomain: b.state.owner.TrustDomain,
		Retry:       table.RetryBudget{Percent: defaultRetryPercent, MinPerSecond: defaultRetryMin},
	}
}

func (b *builder) service(body *service, inherited table.Balancing) *table.Service {
	balancing, _ := decodeBalancing(body.balancing, inherited) // checked when the resource was accepted
	s := &table.Service{
		Name:      body.name,
		Ports:     body.ports,
		Route:     body.route,
		Balancing: balancing,
		Rules:     make([]table.Rule, 0, len(body.rules)+1),
	}
	for i := range body.rules {
		s.Rules = append(s.Rules, b.rule(&body.rules[i]))
	}
	itself := table.Backend{Service: body.name, Weight: 1, Set: b.set(body.name, nil)}
	s.Rules = append(s.Rules, table.Rule{Backends: []table.Backend{itself}, TotalWeight: 1})
	return s
}

func (b *builder) rule(r *rule) table.Rule {
	out := table.Rule{Matches: r.matches, Timeout: r.timeout, Retry: r.retry}
	for _, share := range r.backends {
		if share.weight == 0 {
			continue
		}
		backend := table.Backend{Service: share.service, Weight: share.weight}
		if !share.missing {
			backend.Set = b.set(share.service, share.labels)
		}
		out.Backends = append(out.Backends, backend)
		out.TotalWeight += share.weight
	}
	return out
}

// set finds or makes the endpoints of a service with some labels. When the endpoints were refused the set is empty, which
// answers no_endpoint: the service does exist.
func (b *builder) set(service string, labels map[string]string) *table.EndpointSet {
	key := setKey(service, labels)
	if set, ok := b.sets[key]; ok {
		return set
	}
	var all *endpoints
	if h := b.state.held[endpointsPrefix+service]; h != nil {
		all = h.value.(*endpoints)
	}
	set := all.choose(key, service, labels)
	b.sets[key] = set
	return set
}
