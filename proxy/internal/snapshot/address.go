package snapshot

import (
	"errors"
	"fmt"
	"net/netip"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// decodeAddress makes services of one endpoint out of what is at an address, so that it is walked like any other.
func decodeAddress(pb *configpb.Address) (*table.Address, error) {
	addr, err := netip.ParseAddr(pb.GetAddress())
	if err != nil || addr.Zone() != "" || addr.Is4In6() || addr.String() != pb.GetAddress() {
		return nil, fmt.Errorf("address: %q is not an IP address in its shortest form", pb.GetAddress())
	}
	a := &table.Address{Address: addr}
	last := -1
	for i, p := range pb.GetPorts() {
		port, err := decodeAddressPort(addr, p)
		if err != nil {
			return nil, fmt.Errorf("ports[%d]: %w", i, err)
		}
		order := 2 * int(port.Target)
		if port.UDP {
			order++
		}
		if order <= last {
			return nil, fmt.Errorf("ports[%d]: port %d is not in order", i, port.Target)
		}
		last = order
		a.Ports = append(a.Ports, port)
	}
	return a, nil
}

func decodeAddressPort(addr netip.Addr, pb *configpb.AddressPort) (table.AddressPort, error) {
	if err := checkName(pb.GetService()); err != nil {
		return table.AddressPort{}, fmt.Errorf("service: %w", err)
	}
	protocol, err := decodeProtocol(pb.GetProtocol())
	if err != nil {
		return table.AddressPort{}, err
	}
	if pb.GetEndpoint() == nil {
		return table.AddressPort{}, errors.New("endpoint: none")
	}
	ep, err := decodeEndpoint(pb.GetService(), pb.GetEndpoint())
	if err != nil {
		return table.AddressPort{}, fmt.Errorf("endpoint: %w", err)
	}
	if ep.Address != addr {
		return table.AddressPort{}, fmt.Errorf("endpoint: is at %s", ep.Address)
	}
	set := &table.EndpointSet{Key: addressPrefix + ep.Key, Service: ep.Service, Endpoints: []*table.Endpoint{ep}}
	svc := &table.Service{
		Name:  ep.Service,
		Rules: []table.Rule{{Backends: []table.Backend{{Service: ep.Service, Weight: 1, Set: set}}, TotalWeight: 1}},
	}
	if ep.ServicePort != 0 {
		svc.Ports = []table.ServicePort{{Number: ep.ServicePort, Protocol: protocol}}
	}
	return table.AddressPort{Target: ep.TargetPort, UDP: ep.UDP, Service: svc}, nil
}

// decodeEgress refuses whatever it does not know, as decodeAccess does: a condition that is skipped would open a way out.
func decodeEgress(r *configpb.Resource, pb *configpb.Egress) (*table.Egress, error) {
	if path := unknown(r.ProtoReflect()); path != "" {
		return nil, fmt.Errorf("%s has a field that this sidecar does not know: it is older than the control plane", path)
	}
	e := &table.Egress{Strict: pb.GetStrict()}
	for i, s := range pb.GetServices() {
		decoded, err := decodeExternal(s)
		if err != nil {
			return nil, fmt.Errorf("services[%d] (%s): %w", i, s.GetName(), err)
		}
		e.Services = append(e.Services, decoded)
	}
	return e, nil
}

func decodeExternal(pb *configpb.ExternalService) (table.ExternalService, error) {
	s := table.ExternalService{Name: pb.GetName(), Hosts: pb.GetHosts()}
	if err := checkName(s.Name); err != nil {
		return s, fmt.Errorf("name: %w", err)
	}
	for i, text := range pb.GetAddresses() {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return s, fmt.Errorf("addresses[%d]: %w", i, err)
		}
		s.Addresses = append(s.Addresses, prefix)
	}
	for i, n := range pb.GetPorts() {
		port, err := decodePort(n, 1)
		if err != nil {
			return s, fmt.Errorf("ports[%d]: %w", i, err)
		}
		s.Ports = append(s.Ports, port)
	}
	return s, nil
}

// egress is what holds for the outside. When the first one was refused, what it allows is not known: nothing.
func (b *builder) egress() *table.Egress {
	if h := b.state.held[egressName]; h != nil {
		return h.value.(*table.Egress)
	}
	if b.state.refused[egressName] != nil {
		return &table.Egress{Strict: true}
	}
	return nil
}

// HasAddress says whether it is known what is at an address.
func (s *State) HasAddress(addr netip.Addr) bool {
	_, ok := s.held[addressPrefix+addr.String()]
	return ok
}

// AddressOf is the address that the name of a resource speaks of; it is not valid for other names.
func AddressOf(resource string) netip.Addr {
	if len(resource) <= len(addressPrefix) || resource[:len(addressPrefix)] != addressPrefix {
		return netip.Addr{}
	}
	addr, _ := netip.ParseAddr(resource[len(addressPrefix):])
	return addr
}
