package h2_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/proxy/internal/authz"
	"github.com/weft-mesh/weft/proxy/internal/balance"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/h2"
	"github.com/weft-mesh/weft/proxy/internal/health"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/route"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	service = "default/echo"
	port    = 80
)

// records collects what a server emits.
type records struct {
	mu   sync.Mutex
	all  []flow.Record
	more sync.Cond
}

func newRecords() *records {
	r := &records{}
	r.more.L = &r.mu
	return r
}

func (r *records) emit(rec *flow.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) < 10_000 { // a benchmark makes more than anybody wants
		r.all = append(r.all, *rec)
	}
	r.more.Broadcast()
}

// wait returns the first n records, once there are that many.
func (r *records) wait(n int) []flow.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.all) < n {
		r.more.Wait()
	}
	return append([]flow.Record(nil), r.all...)
}

// mesh is an outbound server in front of workloads that each have an inbound server of their own.
type mesh struct {
	t        testing.TB
	ca       *testca.CA // nil: plaintext between the sidecars
	client   *spiffe.Source
	tables   table.Holder
	out, in  *records
	outbound *h2.Server
	inbounds []*h2.Server
	addr     string
	set      *table.EndpointSet
	rule     table.Rule
	limits   h2.Limits
	guard    *limit.Guard
	access   table.Holder
}

type meshOption func(*mesh)

func withMTLS(m *mesh) {
	m.ca = testca.New(m.t, "weft.local")
	m.client = m.ca.Source(m.t, spiffe.Account{Namespace: "default", Name: "web"})
}

func withRule(rule table.Rule) meshOption { return func(m *mesh) { m.rule = rule } }

func withGuard(l limit.Limits) meshOption { return func(m *mesh) { m.guard = limit.New(l) } }

func withLimits(l h2.Limits) meshOption { return func(m *mesh) { m.limits = l } }

// newMesh puts a sidecar before each app address and one before the client.
func newMesh(t testing.TB, apps []string, options ...meshOption) *mesh {
	t.Helper()
	m := &mesh{t: t, out: newRecords(), in: newRecords(), set: &table.EndpointSet{Key: service, Service: service}}
	for _, o := range options {
		o(m)
	}
	m.access.Store(&table.Table{Access: &table.Access{Rules: []table.AccessRule{{
		Name: "default/all[0]", IDPrefixes: []string{"spiffe://weft.local/ns/default/"},
	}}}})
	for i, app := range apps {
		m.set.Endpoints = append(m.set.Endpoints, m.sidecar(i, app))
	}
	m.store(m.set)
	budget := limit.NewBudget(20, 100)
	balancer := balance.New(health.NewRegistry())
	m.outbound = m.start(h2.Config{
		Direction: flow.Outbound, Pick: balancer.Pick, Dial: m.dial, Request: budget.Request, Retry: budget.Retry,
		Emit: m.out.emit, Limits: m.limits, Guard: m.guard,
	}, func(s *h2.Server, nc net.Conn) error {
		return s.Serve(context.Background(), nc, h2.Downstream{Decide: m.decideOut})
	}, &m.addr)
	return m
}

// store makes a table whose only service goes to set.
func (m *mesh) store(set *table.EndpointSet) {
	rule := m.rule
	rule.Backends, rule.TotalWeight = []table.Backend{{Service: service, Weight: 1, Set: set}}, 1
	m.tables.Store(&table.Table{Services: map[string]*table.Service{service: {Name: service, Rules: []table.Rule{rule}}}})
}

func (m *mesh) decideOut(req flow.Request, rnd uint32, rec *flow.Record) h2.Plan {
	svc := m.tables.Load().Services[service]
	rec.Service = svc.Name
	rule, index, backend := route.Select(svc, req, rnd)
	rec.RuleIndex = index
	if rule == nil || backend == nil || backend.Set == nil {
		return h2.Plan{Reason: flow.NoBackend}
	}
	return h2.Plan{Set: backend.Set, Balancing: svc.Balancing, Port: port, Timeout: rule.Timeout, Retry: rule.Retry}
}

// sidecar starts an inbound server before app and returns the endpoint that it makes.
func (m *mesh) sidecar(i int, app string) *table.Endpoint {
	target := netip.MustParseAddrPort(app)
	ep := &table.Endpoint{
		Key: fmt.Sprintf("default/echo-%d %s", i, app), Workload: fmt.Sprint("default/echo-", i), Service: service,
		ServicePort: port, Address: target.Addr(), TargetPort: target.Port(),
	}
	local := &table.Endpoint{Key: "app", Address: target.Addr(), TargetPort: target.Port()}
	decide := func(peer spiffeid.ID) func(flow.Request, uint32, *flow.Record) h2.Plan {
		return func(req flow.Request, _ uint32, rec *flow.Record) h2.Plan {
			rec.Service = service
			if m.ca != nil {
				rule, ok := authz.Check(m.access.Load().Access, peer, req)
				if rec.Rule = rule; !ok {
					return h2.Plan{Reason: flow.Denied}
				}
			}
			return h2.Plan{Endpoint: local}
		}
	}
	var source *spiffe.Source
	if m.ca != nil {
		account := spiffe.Account{Namespace: "default", Name: "echo"}
		source, ep.ID = m.ca.Source(m.t, account), m.ca.ID(m.t, account)
	}
	var addr string
	s := m.start(h2.Config{
		Direction: flow.Inbound, Emit: m.in.emit, Limits: m.limits, Guard: m.guard, Access: func() *table.Access { return m.access.Load().Access },
		Dial: func(ctx context.Context, ep *table.Endpoint) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", netip.AddrPortFrom(ep.Address, ep.TargetPort).String())
		},
	}, func(s *h2.Server, nc net.Conn) error {
		at := h2.Downstream{Decide: decide(spiffeid.ID{})}
		if m.ca != nil {
			tc := tls.Server(nc, spiffe.ServerTLS(source, spiffe.AnyMember(source)))
			if err := tc.Handshake(); err != nil {
				nc.Close()
				return err
			}
			peer, err := spiffe.PeerID(source, tc.ConnectionState().PeerCertificates)
			if err != nil {
				return err
			}
			at = h2.Downstream{Peer: peer, MTLS: true, Decide: decide(peer), Permit: func(req flow.Request) bool {
				_, ok := authz.Check(m.access.Load().Access, peer, req)
				return ok
			}}
			nc = tc
		}
		return s.Serve(context.Background(), nc, at)
	}, &addr)
	m.inbounds = append(m.inbounds, s)
	ep.MeshPort = netip.MustParseAddrPort(addr).Port()
	return ep
}

func (m *mesh) dial(ctx context.Context, ep *table.Endpoint) (net.Conn, error) {
	d := net.Dialer{Timeout: time.Second}
	nc, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(ep.Address, ep.MeshPort).String())
	if err != nil || m.ca == nil {
		return nc, err
	}
	tc := tls.Client(nc, spiffe.ClientTLS(m.client, spiffe.OneOf(ep.ID)))
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, flow.Fail(flow.TLS, err)
	}
	return tc, nil
}

// start runs a server on a port of its own until the test ends.
func (m *mesh) start(cfg h2.Config, serve func(*h2.Server, net.Conn) error, addr *string) *h2.Server {
	m.t.Helper()
	ln := listen(m.t)
	*addr = ln.Addr().String()
	s := h2.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			m.t.Error(err)
		}
	})
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if err := serve(s, nc); err != nil {
					m.t.Log(err)
				}
			})
		}
	})
	m.t.Cleanup(func() {
		ln.Close()
		cancel()
		gone, stop := context.WithCancel(context.Background())
		stop()
		if err := s.Drain(gone); err != nil && !errors.Is(err, context.Canceled) {
			m.t.Error(err)
		}
		wg.Wait()
	})
	return s
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// allow makes the inbound sides accept only what fits.
func (m *mesh) allow(matches ...match.HTTP) {
	m.access.Store(&table.Table{Access: &table.Access{Rules: []table.AccessRule{{
		Name: "default/some[0]", IDPrefixes: []string{"spiffe://weft.local/ns/default/"}, Matches: matches,
	}}}})
}
