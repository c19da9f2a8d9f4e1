package compile

import (
	"github.com/weft-mesh/weft/services/internal/model"
)

// State is everything compiled from one World. It is immutable and safe to share.
type State struct {
	world     *World
	mesh      *Resource
	bundle    *Resource
	egress    *Resource
	closed    *Resource // access of accounts that no policy selects
	services  map[model.Key]*Resource
	endpoints map[model.Key]*Resource
	inbound   map[model.Key]*Resource
	access    map[Account]*Resource // only of accounts that a policy selects
	members   map[model.Key][]*model.Workload
	index     [Shards]*Shard
	addresses addresses
}

// Vector is the state of the sources that this was compiled from.
func (s *State) Vector() model.Vector { return s.world.Vector }

// Mesh is the settings of the mesh.
func (s *State) Mesh() *Resource { return s.mesh }

// Bundle is the trust bundle.
func (s *State) Bundle() *Resource { return s.bundle }

// Egress is what may be called outside of the mesh.
func (s *State) Egress() *Resource { return s.egress }

// Access is who may do what at workloads of an account, whether or not there are any.
func (s *State) Access(a Account) *Resource {
	if r := s.access[a]; r != nil {
		return r
	}
	return s.closed
}

// Selected says whether a policy selects an account.
func (s *State) Selected(a Account) bool { return s.access[a] != nil }

// Registered says whether the catalogue has a workload of this name.
func (s *State) Registered(workload model.Key) bool { return s.inbound[workload] != nil }

// Inbound is a workload's own side. For a workload that is not registered it is empty, with the account given.
func (s *State) Inbound(workload model.Key, account string) *Resource {
	if r := s.inbound[workload]; r != nil {
		return r
	}
	return s.world.unregistered(workload, account)
}

// Service is the body of a service, or nil when there is no such service.
func (s *State) Service(k model.Key) *Resource { return s.services[k] }

// Endpoints is a service's endpoints, or nil when there is no such service.
func (s *State) Endpoints(k model.Key) *Resource { return s.endpoints[k] }

// Shard is one part of the index; number is below Shards.
func (s *State) Shard(number uint32) *Shard { return s.index[number] }

// Workload finds a registered workload.
func (s *State) Workload(k model.Key) (*model.Workload, bool) {
	w, ok := s.world.Workloads[k]
	return w, ok
}

// Workloads are all registered workloads. The map is not to be written.
func (s *State) Workloads() map[model.Key]*model.Workload { return s.world.Workloads }

// Resources is the number of compiled resources.
func (s *State) Resources() int {
	return 4 + len(s.services) + len(s.endpoints) + len(s.inbound) + len(s.access)
}

// Closure is everything that a subscription to one service needs, applied together: its body, its endpoints, and the endpoints
// of every backend that its rules name. It is nil when there is no such service.
func (s *State) Closure(k model.Key) []*Resource {
	body := s.services[k]
	if body == nil {
		return nil
	}
	out := []*Resource{body, s.endpoints[k]}
	for _, b := range s.Backends(k) {
		out = append(out, s.endpoints[b])
	}
	return out
}

// Backends are the other services, of those that exist, that a service's rules name, each once.
func (s *State) Backends(k model.Key) []model.Key {
	body := s.services[k]
	if body == nil {
		return nil
	}
	var out []model.Key
	seen := map[model.Key]bool{k: true}
	svc, _ := body.Body.(*Service)
	for _, rule := range svc.Rules {
		for _, b := range rule.Backends {
			if !seen[b.Service] && !b.Missing {
				seen[b.Service] = true
				out = append(out, b.Service)
			}
		}
	}
	return out
}
