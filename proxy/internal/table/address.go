package table

import (
	"iter"
	"net/netip"
)

// Address is what the mesh has at one IP address of a workload. Without ports it has nothing there: the address is outside.
type Address struct {
	// Address as it was asked for.
	Address netip.Addr
	// Ports of programs, in order of target port. Each number is there once for TCP and once for UDP.
	Ports []AddressPort
}

// AddressPort is one program's port at an address.
type AddressPort struct {
	// Target is the port that the program listens on.
	Target uint16
	// UDP: it takes datagrams.
	UDP bool
	// Service is the service that the port serves, with exactly this one endpoint. It is walked like any other, but without
	// a route: whoever calls an address means the workload there.
	Service *Service
}

// Port finds what listens on a port of TCP; nil: nothing that the mesh knows. It works on nil, which knows nothing.
func (a *Address) Port(target uint16) *Service { return a.port(target, false) }

// Datagrams is Port for UDP.
func (a *Address) Datagrams(target uint16) *Service { return a.port(target, true) }

func (a *Address) port(target uint16, udp bool) *Service {
	if a == nil {
		return nil
	}
	for i := range a.Ports {
		if a.Ports[i].Target == target && a.Ports[i].UDP == udp {
			return a.Ports[i].Service
		}
	}
	return nil
}

// Sets are all endpoint sets that the table leads to; some come more than once.
func (t *Table) Sets() iter.Seq[*EndpointSet] {
	return func(yield func(*EndpointSet) bool) {
		for _, svc := range t.Services {
			if !svc.sets(yield) {
				return
			}
		}
		for _, a := range t.Addresses {
			for i := range a.Ports {
				if !a.Ports[i].Service.sets(yield) {
					return
				}
			}
		}
	}
}

func (s *Service) sets(yield func(*EndpointSet) bool) bool {
	for i := range s.Rules {
		for j := range s.Rules[i].Backends {
			if set := s.Rules[i].Backends[j].Set; set != nil && !yield(set) {
				return false
			}
		}
	}
	return true
}
