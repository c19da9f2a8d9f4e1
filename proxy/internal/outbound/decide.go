package outbound

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/weft-mesh/weft/proxy/internal/balance"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/forward"
	"github.com/weft-mesh/weft/proxy/internal/h1"
	"github.com/weft-mesh/weft/proxy/internal/h2"
	"github.com/weft-mesh/weft/proxy/internal/route"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// routed is where the stages up to route lead.
type routed struct {
	table   *table.Table
	service *table.Service
	rule    *table.Rule
	set     *table.EndpointSet
	reason  flow.Reason
}

// walk takes one request (nil: a connection) through route.
func (p *port) walk(t *table.Table, svc *table.Service, req flow.Request, rnd uint32, rec *flow.Record) routed {
	r := routed{table: t, service: svc}
	if !p.declared(svc) {
		r.reason = flow.NoRoute
		return r
	}
	rule, index, backend := route.Select(svc, req, rnd)
	rec.Route, rec.RuleIndex = svc.Route, index
	switch {
	case rule == nil:
		r.reason = flow.NoRoute
	case backend == nil || backend.Set == nil:
		r.reason = flow.NoBackend
	default:
		r.rule, r.set = rule, backend.Set
	}
	return r
}

// declared says whether the service has the port, of the transport that is meant.
func (p *port) declared(svc *table.Service) bool {
	find := svc.Port
	if p.UDP {
		find = svc.UDPPort
	}
	_, ok := find(p.Port)
	return ok
}

// pick chooses among the endpoints of the port.
func (p *port) pick(b *balance.Balancer, set *table.EndpointSet, method table.Balancing, failed []*table.Endpoint) (balance.Choice, bool) {
	if p.UDP {
		return b.PickUDP(set, method, p.Port, failed)
	}
	return b.Pick(set, method, p.Port, failed)
}

func (p *port) fail(reason flow.Reason) error {
	return flow.Fail(reason, fmt.Errorf("service %s port %d", p.Service, p.Port))
}

// decider walks the stages for the HTTP/1.1 requests, or the one stream, of one client connection.
type decider struct {
	server *Server
	port   *port
	rnd    uint32 // of the current request: its retries keep its backend
	choice balance.Choice
	known  flow.Reason // of the first request, when the connection has waited for it already
}

var _ forward.Decider = (*decider)(nil)

// Admit waits for what the sidecar does not have yet.
func (d *decider) Admit(ctx context.Context, req *h1.Request, rec *flow.Record) error {
	d.rnd = rand.Uint32()
	if known := d.known; known != flow.None {
		d.known = flow.None
		return d.port.fail(known)
	}
	if _, _, reason := d.server.service(ctx, d.port); reason != flow.None {
		return d.port.fail(reason)
	}
	d.server.budget.Request()
	return nil
}

// Target walks route and balance by the newest table.
func (d *decider) Target(ctx context.Context, req *h1.Request, failed []*table.Endpoint, rec *flow.Record) (forward.Target, error) {
	return d.target(ctx, req, failed, rec)
}

func (d *decider) target(ctx context.Context, req flow.Request, failed []*table.Endpoint, rec *flow.Record) (forward.Target, error) {
	t, svc, reason := d.server.service(ctx, d.port)
	if reason != flow.None {
		return forward.Target{}, d.port.fail(reason)
	}
	r := d.port.walk(t, svc, req, d.rnd, rec)
	if r.reason != flow.None {
		return forward.Target{}, d.port.fail(r.reason)
	}
	choice, ok := d.port.pick(d.server.balancer, r.set, svc.Balancing, failed)
	if !ok {
		return forward.Target{}, d.port.fail(flow.NoEndpoint)
	}
	ep := choice.Endpoint
	if ep.MeshPort == 0 && t.Mesh.MTLS == table.Strict {
		choice.Done(balance.Outcome{Abandoned: true})
		return forward.Target{}, flow.Fail(flow.Plaintext, fmt.Errorf("endpoint %s has no sidecar", ep.Key))
	}
	d.choice = choice
	rec.MTLS = ep.MeshPort != 0 && t.Mesh.MTLS != table.Off
	return forward.Target{Endpoint: ep, Mesh: rec.MTLS, Timeout: r.rule.Timeout, Retry: r.rule.Retry}, nil
}

// Settle tells the balancer.
func (d *decider) Settle(o forward.Outcome) {
	d.choice.Done(balance.Outcome(o))
	d.choice = balance.Choice{}
}

// Retry asks the budget.
func (d *decider) Retry() bool { return d.server.budget.Retry() }

// plan is the same walk for HTTP/2. known is the reason of the first request, as for a decider.
func (s *Server) plan(p *port, known flow.Reason) func(flow.Request, uint32, *flow.Record) h2.Plan {
	return func(req flow.Request, rnd uint32, rec *flow.Record) h2.Plan {
		rec.Service = p.Service
		if reason := known; reason != flow.None {
			known = flow.None
			return h2.Plan{Reason: reason, Err: p.fail(reason)}
		}
		if t, svc := s.now(p); svc != nil {
			return p.planned(p.walk(t, svc, req, rnd, rec))
		}
		return h2.Plan{Wait: func(ctx context.Context) (flow.Reason, error) {
			_, _, reason := s.service(ctx, p)
			return reason, p.fail(reason)
		}}
	}
}

func (p *port) planned(r routed) h2.Plan {
	if r.reason != flow.None {
		return h2.Plan{Reason: r.reason, Err: p.fail(r.reason)}
	}
	return h2.Plan{
		Set: r.set, Balancing: r.service.Balancing, Port: p.Port, Plain: r.table.Mesh.MTLS == table.Off,
		Timeout: r.rule.Timeout, Retry: r.rule.Retry,
	}
}
