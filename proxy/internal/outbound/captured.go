package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/listener"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

var errLoop = errors.New("it is one of the sidecar's own listeners")

// ServeCaptured answers on ln for connections that the program made to somewhere else; original says where to. A service's
// virtual address leads to the service, as an Upstream of it does; the address and port of a workload's program lead to
// that workload; everything else is outside of the mesh, and egress decides. It ends as Serve does, and closes ln.
func (s *Server) ServeCaptured(ctx context.Context, ln net.Listener, original func(net.Conn) (netip.AddrPort, error)) error {
	defer s.own.add(ln.Addr())()
	return s.loop.Serve(ctx, ln, func(ctx context.Context, session *listener.Session) {
		conn := wire.New(session.Conn, s.sweeper)
		defer conn.Close()
		to, err := original(session.Conn)
		over := session.Refused()
		to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
		switch {
		case err != nil:
			s.turnAway(ctx, session, conn, outsideRecord("", to), flow.Fail(flow.BadRequest, fmt.Errorf("original destination: %w", err)))
		case over != nil:
			s.turnAway(ctx, session, conn, outsideRecord("", to), flow.Fail(flow.Overload, over))
		case s.own.has(to):
			s.turnAway(ctx, session, conn, outsideRecord("", to), flow.Fail(flow.Loop, fmt.Errorf("%s: %w", to, errLoop)))
		default:
			s.captured(ctx, session, conn, to)
		}
	})
}

// captured serves a connection that was meant for an address.
func (s *Server) captured(ctx context.Context, session *listener.Session, conn *wire.Conn, to netip.AddrPort) {
	t, reason := s.hold.Table(ctx)
	if reason != flow.None {
		s.turnAway(ctx, session, conn, outsideRecord("", to), flow.Fail(reason, fmt.Errorf("connection to %s", to)))
		return
	}
	if t.Index != nil {
		if entry, ok := t.Index.ByAddress(to.Addr()); ok {
			s.virtual(ctx, session, conn, Upstream{Service: entry.Name, Port: to.Port()})
			return
		}
	}
	t, a, reason := s.hold.Address(ctx, to.Addr())
	if reason != flow.None {
		s.turnAway(ctx, session, conn, outsideRecord("", to), flow.Fail(reason, fmt.Errorf("connection to %s", to)))
		return
	}
	if svc := a.Port(to.Port()); svc != nil {
		s.speak(ctx, session, conn, s.ports.get(Upstream{Service: svc.Name, Port: servicePort(svc)}, to), svc)
		return
	}
	s.outside(ctx, session, conn, t, to)
}

// virtual serves a connection to a service's virtual address. A port that the service does not have gets no memory.
func (s *Server) virtual(ctx context.Context, session *listener.Session, conn *wire.Conn, up Upstream) {
	once := &port{Upstream: up}
	_, svc, reason := s.service(ctx, once)
	if reason == flow.None {
		if _, ok := svc.Port(up.Port); ok {
			s.speak(ctx, session, conn, s.ports.get(up, netip.AddrPort{}), svc)
			return
		}
		reason = flow.NoRoute
	}
	s.refuse(ctx, session, conn, once, reason)
}

// servicePort is the port of a service with one endpoint; 0: any.
func servicePort(svc *table.Service) uint16 {
	if len(svc.Ports) == 0 {
		return 0
	}
	return svc.Ports[0].Number
}
