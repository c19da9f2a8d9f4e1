package outbound

import (
	"context"
	"net/netip"

	"github.com/weft-mesh/weft/proxy/internal/egress"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// Destination is what an original destination of a datagram stands for.
type Destination struct {
	// Upstream is a service of the mesh; without a name the destination is outside of the mesh.
	Upstream
	// Endpoint of that service that was called by its own address; nil: any of them.
	Endpoint *table.Endpoint
	// Address is the original destination.
	Address netip.AddrPort
	// External is what a destination outside of the mesh is called in records.
	External string
	// Reason why nothing may go there; None: it may.
	Reason flow.Reason

	mode table.MTLSMode // when Endpoint is set
}

// Resolve tells what an original destination stands for. It may wait, at most until ctx ends.
type Resolve func(ctx context.Context, to netip.AddrPort) Destination

// Fixed is for a socket that stands for one service.
func Fixed(up Upstream) Resolve {
	up.UDP = true
	return func(_ context.Context, to netip.AddrPort) Destination { return Destination{Upstream: up, Address: to} }
}

// Captured is for datagrams that were captured on their way: to a service's virtual address, to a workload that the sidecar
// knows, or to somewhere outside of the mesh, about which egress decides.
func (s *Server) Captured(ctx context.Context, to netip.AddrPort) Destination {
	t, reason := s.hold.Table(ctx)
	if reason != flow.None {
		return Destination{Address: to, Reason: reason}
	}
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	if t.Index != nil {
		if entry, ok := t.Index.ByAddress(to.Addr()); ok {
			return Destination{Upstream: Upstream{Service: entry.Name, Port: to.Port(), UDP: true}, Address: to}
		}
	}
	t, a, reason := s.hold.Address(ctx, to.Addr())
	if reason != flow.None {
		return Destination{Address: to, Reason: reason}
	}
	if svc := a.Datagrams(to.Port()); svc != nil {
		return direct(t, only(svc), to)
	}
	return outside(t, to)
}

// outside is what egress says of a destination of datagrams that is not in the mesh.
func outside(t *table.Table, to netip.AddrPort) Destination {
	decision := egress.Address(egress.Of(t), to)
	d := Destination{Address: to, External: nameOf(decision.Service)}
	if !decision.Allowed || !place(to.Addr()) {
		d.Reason = flow.Egress
	}
	return d
}

// stillOutside is what egress says now of a session with the outside that has begun.
func (s *Server) stillOutside(to netip.AddrPort) flow.Reason {
	if t := s.cfg.Tables.Load(); t != nil && !egress.Address(egress.Of(t), to).Allowed {
		return flow.Egress
	}
	return flow.None
}

// direct is the way to an endpoint that was called by its own address.
func direct(t *table.Table, ep *table.Endpoint, to netip.AddrPort) Destination {
	d := Destination{
		Upstream: Upstream{Service: ep.Service, Port: ep.ServicePort, UDP: true}, Endpoint: ep, Address: to, mode: t.Mesh.MTLS,
	}
	if ep.MeshPort == 0 && t.Mesh.MTLS == table.Strict {
		d.Reason = flow.Plaintext
	}
	return d
}

// only is the endpoint of a service that stands for one workload.
func only(svc *table.Service) *table.Endpoint { return svc.Rules[0].Backends[0].Set.Endpoints[0] }
