package outbound

import (
	"net/netip"
	"sync"
)

// maxPorts is how many ports of captured connections are remembered. One that is forgotten is told apart by its next
// connection anew.
const maxPorts = 4096

// ports are the services and workloads that captured connections went to. A port's protocol is decided once, so all connections
// to it have to share it. The zero value is ready.
type ports struct {
	mu  sync.Mutex
	all map[portKey]*port
}

type portKey struct {
	up       Upstream
	workload netip.AddrPort
}

// get finds or makes a port.
func (s *ports) get(up Upstream, workload netip.AddrPort) *port {
	k := portKey{up, workload}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.all[k]; p != nil {
		return p
	}
	if s.all == nil {
		s.all = map[portKey]*port{}
	}
	for old := range s.all {
		if len(s.all) < maxPorts {
			break
		}
		delete(s.all, old)
	}
	p := &port{Upstream: up, workload: workload}
	s.all[k] = p
	return p
}
