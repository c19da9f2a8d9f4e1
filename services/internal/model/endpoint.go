package model

import (
	"cmp"
	"net/netip"
	"slices"
)

// Endpoint is one workload as seen through one port of one service. Derived; never stored.
type Endpoint struct {
	Service  Key
	Workload Key
	Account  string
	Address  netip.Addr
	// MeshPort is 0 when the workload has no sidecar.
	MeshPort uint16
	// ServicePort that clients use; 0 for a service without declared ports.
	ServicePort uint16
	// TargetPort of the app.
	TargetPort uint16
	Protocol   Protocol
	// Labels that backends select on; shared with the workload.
	Labels   map[string]string
	Locality string
	State    WorkloadState
}

// Endpoints derives the endpoints of a service, in order of workload and port. A workload counts when it is in the service's
// namespace, lists the service, and its account is one that the service admits.
func Endpoints(s *Service, workloads []Workload) []Endpoint {
	var out []Endpoint
	for i := range workloads {
		w := &workloads[i]
		if w.Namespace != s.Namespace || !slices.Contains(w.Services, s.Name) || !s.Admits(w.Namespace, w.Account) {
			continue
		}
		ports := s.Ports
		if len(ports) == 0 {
			ports = w.undeclared()
		}
		for _, p := range ports {
			if target, protocol := w.target(p); target != 0 {
				out = append(out, Endpoint{
					Service: s.Key, Workload: w.Key, Account: w.Account, Address: w.Address, MeshPort: w.MeshPort,
					ServicePort: p.Port, TargetPort: target, Protocol: protocol,
					Labels: w.Selectable, Locality: w.Locality, State: w.State,
				})
			}
		}
	}
	slices.SortFunc(out, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(a.Workload.Name, b.Workload.Name), cmp.Compare(a.ServicePort, b.ServicePort), cmp.Compare(a.Protocol, b.Protocol))
	})
	return out
}

// undeclared is what a service without ports has at this workload: its first port, and the first one of the other transport.
func (w *Workload) undeclared() []ServicePort {
	ports := []ServicePort{{}}
	if len(w.Ports) == 0 {
		return ports
	}
	first := w.Ports[0].Protocol
	for _, p := range w.Ports {
		if p.Protocol.UDP() != first.UDP() {
			return append(ports, ServicePort{Protocol: cmp.Or(p.Protocol, ProtocolTCP)})
		}
	}
	return ports
}

// serves says whether a port of the app can stand behind a service port, by what both say of their transport.
func (p WorkloadPort) serves(port ServicePort) bool {
	return p.Protocol == ProtocolUndeclared || port.Protocol == ProtocolUndeclared || p.Protocol.UDP() == port.Protocol.UDP()
}

// target is the app's port for a service port, or 0 when the workload does not serve it. The most specific statement wins:
// the workload's port for exactly this service port, then the service's target port, then the workload's port for every
// service port. A service without ports takes the workload's first port.
func (w *Workload) target(p ServicePort) (uint16, Protocol) {
	var fallback *WorkloadPort
	for i := range w.Ports {
		port := &w.Ports[i]
		if !port.serves(p) {
			continue
		}
		if p.Port != 0 && port.ServicePort == p.Port {
			return port.Port, cmp.Or(p.Protocol, port.Protocol)
		}
		if fallback == nil && (port.ServicePort == 0 || p.Port == 0) {
			fallback = port
		}
	}
	if p.TargetPort != 0 {
		if fallback != nil {
			return p.TargetPort, cmp.Or(p.Protocol, fallback.Protocol)
		}
		return p.TargetPort, p.Protocol
	}
	if fallback != nil {
		return fallback.Port, cmp.Or(p.Protocol, fallback.Protocol)
	}
	return 0, p.Protocol
}
