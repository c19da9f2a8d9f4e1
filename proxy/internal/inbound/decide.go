package inbound

import (
	"context"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/proxy/internal/authz"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/forward"
	"github.com/weft-mesh/weft/proxy/internal/h1"
	"github.com/weft-mesh/weft/proxy/internal/h2"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// caller is one client connection: who calls, and what for. It decides about each of its requests.
type caller struct {
	server *Server
	peer   spiffeid.ID // zero on plaintext
	source string      // peer, as text
	// service is "namespace/name" as named by SNI; empty on plaintext: the port decides.
	service string
	port    *port
	udp     bool  // the caller speaks UDP: only such ports are meant
	over    error // which limit its connection is over; nil: none
}

var _ forward.Decider = (*caller)(nil)

// Admit waits for the first table and then checks access.
func (c *caller) Admit(ctx context.Context, req *h1.Request, rec *flow.Record) error {
	return c.admit(ctx, req, rec)
}

// admit takes a nil request for a stream.
func (c *caller) admit(ctx context.Context, req flow.Request, rec *flow.Record) error {
	if c.over != nil {
		return flow.Fail(flow.Overload, c.over)
	}
	t, reason := c.server.hold.Table(ctx)
	if reason == flow.None {
		reason = c.check(t, req, rec)
	}
	if reason == flow.None {
		c.server.budget.Request()
		return nil
	}
	return c.fail(reason)
}

// check is what one table says about a request.
func (c *caller) check(t *table.Table, req flow.Request, rec *flow.Record) flow.Reason {
	in, ok := c.target(t)
	if !ok {
		return flow.NoRoute
	}
	rec.Service = in.Service
	if c.peer.IsZero() && t.Mesh.MTLS == table.Strict {
		return flow.Plaintext
	}
	rule, ok := authz.Check(t.Access, c.peer, req)
	if !ok {
		return flow.Denied
	}
	rec.Rule = rule
	return flow.None
}

// target finds what the caller asks for among what this workload serves.
func (c *caller) target(t *table.Table) (table.InboundPort, bool) {
	if t.Inbound == nil {
		return table.InboundPort{}, false
	}
	for _, p := range t.Inbound.Ports {
		if p.TargetPort == c.port.endpoint.TargetPort && (p.Protocol == table.UDP) == c.udp && (c.service == "" || c.service == p.Service) {
			return p, true
		}
	}
	return table.InboundPort{}, false
}

func (c *caller) fail(reason flow.Reason) error {
	who := "an unauthenticated caller"
	if c.source != "" {
		who = c.source
	}
	if c.over != nil {
		return flow.Fail(reason, c.over)
	}
	return flow.Fail(reason, fmt.Errorf("%s calls %s port %d", who, c.service, c.port.endpoint.TargetPort))
}

// Target is always the program.
func (c *caller) Target(context.Context, *h1.Request, []*table.Endpoint, *flow.Record) (forward.Target, error) {
	return forward.Target{Endpoint: c.port.endpoint, Source: c.source}, nil
}

// Settle has nothing to learn: there is no other program to go to.
func (c *caller) Settle(forward.Outcome) {}

// Retry asks the budget; only a connection to the program that broke while it was idle is worth another try.
func (c *caller) Retry() bool { return c.server.budget.Retry() }

// plan is the same for HTTP/2.
func (c *caller) plan(req flow.Request, _ uint32, rec *flow.Record) h2.Plan {
	rec.Service = c.service
	if c.over != nil {
		return h2.Plan{Reason: flow.Overload, Err: c.over}
	}
	if t := c.server.cfg.Tables.Load(); t != nil {
		return c.planned(c.check(t, req, rec))
	}
	return h2.Plan{Wait: func(ctx context.Context) (flow.Reason, error) {
		_, reason := c.server.hold.Table(ctx)
		return reason, c.fail(reason)
	}}
}

func (c *caller) planned(reason flow.Reason) h2.Plan {
	if reason != flow.None {
		return h2.Plan{Reason: reason, Err: c.fail(reason)}
	}
	return h2.Plan{Endpoint: c.port.endpoint}
}

// allowed says whether a stream would be let in now.
func (c *caller) allowed() bool {
	t := c.server.cfg.Tables.Load()
	return t != nil && permit(t, c.peer, nil)
}

// downstream is what the HTTP/2 engine knows of the caller.
func (c *caller) downstream(mtls bool) h2.Downstream {
	return h2.Downstream{
		Peer: c.peer, MTLS: mtls, Decide: c.plan,
		Permit: func(req flow.Request) bool {
			t := c.server.cfg.Tables.Load()
			return t != nil && permit(t, c.peer, req)
		},
	}
}
