package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/egress"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/listener"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

const (
	// external is what records call a destination outside of the mesh that no external service names.
	external = "external"
	// outsideConnect bounds a connect to the outside, which is farther away than the mesh is.
	outsideConnect = 5 * time.Second
	// nameWithin bounds how long a client may take to name the host that it wants, where only that decides.
	nameWithin = 5 * time.Second
	// maxAddresses is how many addresses of a host are tried.
	maxAddresses = 4
)

var (
	errEgress    = errors.New("no external service names it and the mesh allows no other destination")
	errPlace     = errors.New("it is not an address of another machine")
	errNoAddress = errors.New("the name has no address that may be called")
)

// outside relays a connection to a destination outside of the mesh as it is, if it is allowed.
func (s *Server) outside(ctx context.Context, session *listener.Session, conn *wire.Conn, t *table.Table, to netip.AddrPort) {
	policy := egress.Of(t)
	d := egress.Address(policy, to)
	switch {
	case !place(to.Addr()):
		s.turnAway(ctx, session, conn, outsideRecord("", to), flow.Fail(flow.Egress, fmt.Errorf("%s: %w", to, errPlace)))
	case d.Allowed:
		s.pass(ctx, session, conn, policy, d, to)
	case d.Hosts:
		s.byName(ctx, session, conn, policy, to)
	default:
		s.turnAway(ctx, session, conn, outsideRecord("", to), flow.Fail(flow.Egress, fmt.Errorf("%s: %w", to, errEgress)))
	}
}

// pass relays to the address that the client named. The server may speak first: it is connected to before anybody listens for a
// host's name, which is for the record only here.
func (s *Server) pass(ctx context.Context, session *listener.Session, conn *wire.Conn, policy *table.Egress, d egress.Decision, to netip.AddrPort) {
	rec := outsideRecord(d.Service, to)
	up, err := s.reach(ctx, []netip.Addr{to.Addr()}, to.Port(), &rec)
	if err != nil {
		s.turnAway(ctx, session, conn, rec, err)
		return
	}
	if d.Hosts {
		if name := overhear(conn, up); name != "" {
			rec.Service = nameOf(egress.Host(policy, name, to.Port()).Service)
		}
	}
	s.relay(&stream{conn: conn, up: up, to: to}, &rec)
}

// byName relays to a host that the client names and an external service allows, at an address that the name has now. What
// address the client used does not count: it may have been chosen to fit a name that is not true.
func (s *Server) byName(ctx context.Context, session *listener.Session, conn *wire.Conn, policy *table.Egress, to netip.AddrPort) {
	host := egress.Name(ask(conn, nameWithin))
	d := egress.Host(policy, host, to.Port())
	if !d.Allowed || host == "" {
		s.turnAway(ctx, session, conn, outsideRecord("", to), flow.Fail(flow.Egress, fmt.Errorf("%s, host %q: %w", to, host, errEgress)))
		return
	}
	rec := outsideRecord(d.Service, to)
	addresses, err := s.resolve(ctx, host, to)
	if err == nil {
		var up *wire.Conn
		if up, err = s.reach(ctx, addresses, to.Port(), &rec); err == nil {
			s.relay(&stream{conn: conn, up: up, to: to, host: host}, &rec)
			return
		}
	}
	s.turnAway(ctx, session, conn, rec, err)
}

// resolve finds where a host may be called: first where the client wanted to go, if the host is there.
func (s *Server) resolve(ctx context.Context, host string, to netip.AddrPort) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, outsideConnect)
	defer cancel()
	found, err := s.cfg.Resolve(ctx, host)
	if err != nil {
		return nil, flow.Fail(flow.Connect, fmt.Errorf("resolve %q: %w", host, err))
	}
	var out []netip.Addr
	for _, a := range found {
		a = a.Unmap()
		switch {
		case !place(a) || s.own.has(netip.AddrPortFrom(a, to.Port())):
		case a == to.Addr():
			out = append([]netip.Addr{a}, out...)
		default:
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, flow.Fail(flow.Egress, fmt.Errorf("%q: %w", host, errNoAddress))
	}
	return out[:min(len(out), maxAddresses)], nil
}

// reach connects to the first address that answers.
func (s *Server) reach(ctx context.Context, addresses []netip.Addr, port uint16, rec *flow.Record) (*wire.Conn, error) {
	var last error
	for _, a := range addresses {
		rec.Tries++
		rec.Outside = netip.AddrPortFrom(a, port)
		nc, err := s.cfg.Outside(ctx, rec.Outside)
		if err == nil {
			return wire.New(nc, s.sweeper), nil
		}
		last = flow.Fail(flow.Connect, fmt.Errorf("dial %s: %w", rec.Outside, err))
	}
	return nil, last
}

// place says whether an address can be one of another machine. Loopback is the program's own, which the sidecar's need not be.
func place(a netip.Addr) bool {
	return a.IsValid() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast()
}

func outsideRecord(service string, to netip.AddrPort) flow.Record {
	p := port{Upstream: Upstream{Service: nameOf(service)}}
	rec := p.record()
	rec.Outside = to
	return rec
}

func nameOf(service string) string {
	if service == "" {
		return external
	}
	return service
}

func dialOutside(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{Timeout: outsideConnect}
	return dialer.DialContext(ctx, "tcp", to.String())
}

func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}
