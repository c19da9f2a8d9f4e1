package modelpb

import (
	"net/netip"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
)

// ServiceFromProto reads a service.
func ServiceFromProto(p *discoverypb.Service) (model.Service, error) {
	if p == nil {
		return model.Service{}, missing(model.KindService)
	}
	var d decoder
	s := model.Service{Meta: d.meta(p.GetMetadata()), Accounts: texts(p.GetSpec().GetAccounts())}
	for i, port := range p.GetSpec().GetPorts() {
		path := index("spec.ports", i)
		s.Ports = append(s.Ports, model.ServicePort{
			Name: port.GetName(), Port: d.port(path+".port", port.GetPort()),
			TargetPort: d.port(path+".targetPort", port.GetTargetPort()),
			Protocol:   d.protocol(path+".protocol", port.GetProtocol()),
		})
	}
	s.VirtualAddress = d.address("virtualAddress", p.GetVirtualAddress())
	return s, d.done(model.KindService, s.Meta)
}

// ServiceToProto writes a service.
func ServiceToProto(s model.Service) *discoverypb.Service {
	p := &discoverypb.Service{Metadata: metaToProto(s.Meta), Spec: &discoverypb.ServiceSpec{Accounts: texts(s.Accounts)}}
	for _, port := range s.Ports {
		p.Spec.Ports = append(p.Spec.Ports, &discoverypb.ServicePort{
			Name: port.Name, Port: uint32(port.Port), TargetPort: uint32(port.TargetPort), Protocol: typepb.Protocol(port.Protocol),
		})
	}
	p.VirtualAddress = addressToProto(s.VirtualAddress)
	return p
}

// WorkloadFromProto reads a workload.
func WorkloadFromProto(p *discoverypb.Workload) (model.Workload, error) {
	if p == nil {
		return model.Workload{}, missing(model.KindWorkload)
	}
	var d decoder
	spec, status := p.GetSpec(), p.GetStatus()
	w := model.Workload{
		Meta: d.meta(p.GetMetadata()), Account: spec.GetAccount(), Services: texts(spec.GetServices()),
		Selectable: labels(spec.GetLabels()), Address: d.address("spec.address", spec.GetAddress()),
		MeshPort: d.port("spec.meshPort", spec.GetMeshPort()), Locality: spec.GetLocality(),
		State:       d.state("status.state", status.GetState()),
		LeaseHolder: status.GetLeaseHolder(), AdminAddress: status.GetAdminAddress(),
	}
	for i, port := range spec.GetPorts() {
		path := index("spec.ports", i)
		w.Ports = append(w.Ports, model.WorkloadPort{
			ServicePort: d.port(path+".servicePort", port.GetServicePort()), Port: d.port(path+".port", port.GetPort()),
			Protocol: d.protocol(path+".protocol", port.GetProtocol()),
		})
	}
	return w, d.done(model.KindWorkload, w.Meta)
}

// WorkloadToProto writes a workload.
func WorkloadToProto(w model.Workload) *discoverypb.Workload {
	p := &discoverypb.Workload{
		Metadata: metaToProto(w.Meta),
		Spec: &discoverypb.WorkloadSpec{
			Account: w.Account, Services: texts(w.Services), Labels: labels(w.Selectable),
			Address: addressToProto(w.Address), MeshPort: uint32(w.MeshPort), Locality: w.Locality,
		},
		Status: &discoverypb.WorkloadStatus{
			State: discoverypb.WorkloadState(w.State), LeaseHolder: w.LeaseHolder, AdminAddress: w.AdminAddress,
		},
	}
	for _, port := range w.Ports {
		p.Spec.Ports = append(p.Spec.Ports, &discoverypb.WorkloadPort{
			ServicePort: uint32(port.ServicePort), Port: uint32(port.Port), Protocol: typepb.Protocol(port.Protocol),
		})
	}
	return p
}

// EndpointToProto writes a derived endpoint.
func EndpointToProto(e model.Endpoint) *discoverypb.Endpoint {
	return &discoverypb.Endpoint{
		Namespace: e.Service.Namespace, Service: e.Service.Name, Workload: e.Workload.Name, Account: e.Account,
		Address: addressToProto(e.Address), MeshPort: uint32(e.MeshPort), ServicePort: uint32(e.ServicePort),
		TargetPort: uint32(e.TargetPort), Labels: labels(e.Labels), State: discoverypb.WorkloadState(e.State),
	}
}

func (d *decoder) state(path string, s discoverypb.WorkloadState) model.WorkloadState {
	return enum[model.WorkloadState](d, path, s, discoverypb.WorkloadState_WORKLOAD_STATE_DRAINING, "ready, unknown or draining")
}

// address reads an IP address; an empty one is the zero value, which Validate judges. An IPv4 address in IPv6 form becomes
// IPv4, so that one host has one spelling; zones mean nothing to other hosts.
func (d *decoder) address(path, text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		d.add(path, "%q is not an IP address without a zone", text)
		return netip.Addr{}
	}
	return a.Unmap()
}

func addressToProto(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
