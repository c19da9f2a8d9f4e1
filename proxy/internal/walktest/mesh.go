package walktest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/health"
	"github.com/weft-mesh/weft/proxy/internal/inbound"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/outbound"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// Mesh is a set of services whose table can be changed at any time with Change.
type Mesh struct {
	CA *testca.CA
	// Limits of the sidecars that are started from now on.
	Limits limit.Limits

	tb       testing.TB
	mu       sync.Mutex
	mesh     table.Mesh
	services map[string]*table.Service
	clients  []*Client
	sequence uint64

	addresses map[netip.Addr]*table.Address
	egress    *table.Egress
}

// New makes an empty mesh: mTLS permissive, generous retry budget.
func New(tb testing.TB) *Mesh {
	ca := testca.New(tb, "weft.local")
	return &Mesh{
		CA: ca, tb: tb, services: map[string]*table.Service{},
		mesh: table.Mesh{TrustDomain: ca.TrustDomain(), MTLS: table.Permissive, Retry: table.RetryBudget{Percent: 100, MinPerSecond: 1000}},
	}
}

// Account is an account of namespace default.
func Account(name string) spiffe.Account { return spiffe.Account{Namespace: "default", Name: name} }

// Service declares "default/name" with port 80.
func (m *Mesh) Service(name string, protocol table.Protocol) {
	m.Change(func(_ *table.Mesh, services map[string]*table.Service) {
		full := "default/" + name
		set := &table.EndpointSet{Key: full, Service: full}
		services[full] = &table.Service{
			Name:  full,
			Ports: []table.ServicePort{{Number: 80, Protocol: protocol}},
			Rules: []table.Rule{{Backends: []table.Backend{{Service: full, Weight: 1, Set: set}}, TotalWeight: 1}},
		}
	})
}

// Change edits copies of the settings and services and gives every client the result.
func (m *Mesh) Change(edit func(mesh *table.Mesh, services map[string]*table.Service)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := map[string]*table.Service{}
	for name, svc := range m.services {
		next[name] = clone(svc)
	}
	edit(&m.mesh, next)
	m.services = next
	m.sequence++
	for _, c := range m.clients {
		c.Tables.Store(m.table())
	}
}

// table is the current state; the caller holds mu.
func (m *Mesh) table() *table.Table {
	return &table.Table{
		Mesh: m.mesh, Services: m.services, Index: index(m.services), Addresses: m.addresses, Egress: m.egress, Sequence: m.sequence,
	}
}

// clone copies a service with its rules and sets, so that a test may change them.
func clone(svc *table.Service) *table.Service {
	next := *svc
	next.Rules = nil
	sets := map[*table.EndpointSet]*table.EndpointSet{}
	for _, r := range svc.Rules {
		var backends []table.Backend
		for _, b := range r.Backends {
			if b.Set != nil && sets[b.Set] == nil {
				set := *b.Set
				set.Endpoints = append([]*table.Endpoint(nil), b.Set.Endpoints...)
				sets[b.Set] = &set
			}
			b.Set = sets[b.Set]
			backends = append(backends, b)
		}
		r.Backends = backends
		next.Rules = append(next.Rules, r)
	}
	return &next
}

// Add puts an endpoint into every set of its service.
func (m *Mesh) Add(ep *table.Endpoint) {
	m.Change(func(_ *table.Mesh, services map[string]*table.Service) {
		set := services[ep.Service].Rules[0].Backends[0].Set
		set.Endpoints = append(set.Endpoints, ep)
	})
}

// Remove takes an endpoint away.
func (m *Mesh) Remove(key string) {
	m.Change(func(_ *table.Mesh, services map[string]*table.Service) {
		for _, svc := range services {
			set := svc.Rules[0].Backends[0].Set
			kept := set.Endpoints[:0]
			for _, ep := range set.Endpoints {
				if ep.Key != key {
					kept = append(kept, ep)
				}
			}
			set.Endpoints = kept
		}
	})
}

// Plain is an endpoint without a sidecar.
func Plain(service, workload string, app net.Addr) *table.Endpoint {
	at := netip.MustParseAddrPort(app.String())
	return &table.Endpoint{
		Key: "default/" + workload + " " + at.String(), Workload: "default/" + workload, Service: "default/" + service,
		Address: at.Addr(), TargetPort: at.Port(),
	}
}

type index map[string]*table.Service

func (i index) Lookup(name string) (table.IndexEntry, bool) {
	_, ok := i[name]
	return table.IndexEntry{Name: name, Meshed: true}, ok
}

func (i index) ByAddress(addr netip.Addr) (table.IndexEntry, bool) {
	for name := range i {
		if Virtual(strings.TrimPrefix(name, "default/")) == addr {
			return table.IndexEntry{Name: name, VirtualAddress: addr, Meshed: true}, true
		}
	}
	return table.IndexEntry{}, false
}

func (i index) Each(yield func(table.IndexEntry) bool) {
	for name := range i {
		if !yield(table.IndexEntry{Name: name, Meshed: true}) {
			return
		}
	}
}

// Workload is a program with an inbound sidecar.
type Workload struct {
	Inbound  *inbound.Server
	Tables   *table.Holder
	Identity *spiffe.Source
	Endpoint *table.Endpoint
	Records  *Records
	Mesh     string // address of the mesh port
	Plain    string // address of the plaintext port
}

// Workload starts a sidecar in front of app and makes it an endpoint of the service.
func (m *Mesh) Workload(service, workload string, app net.Addr, access *table.Access) *Workload {
	m.tb.Helper()
	w := m.Sidecar(service, workload, app, access)
	m.Add(w.Endpoint)
	return w
}

// Sidecar is Workload without adding the endpoint.
func (m *Mesh) Sidecar(service, workload string, app net.Addr, access *table.Access) *Workload {
	m.tb.Helper()
	ep := Plain(service, workload, app)
	w := &Workload{Tables: &table.Holder{}, Identity: m.CA.Source(m.tb, Account(service)), Endpoint: ep, Records: &Records{}}
	m.mu.Lock()
	protocol := m.services["default/"+service].Ports[0].Protocol
	if protocol == table.UDP {
		ep.UDP, ep.Key = true, ep.Key+"/udp"
	}
	in := &table.Inbound{
		Namespace: "default", Account: service, Workload: workload,
		Ports: []table.InboundPort{{Service: ep.Service, Port: 80, TargetPort: ep.TargetPort, Protocol: protocol}},
	}
	w.Tables.Store(&table.Table{Mesh: m.mesh, Inbound: in, Access: access})
	m.mu.Unlock()
	w.Inbound = inbound.New(inbound.Config{Tables: w.Tables, Identity: w.Identity, Emit: w.Records.Emit, Guard: limit.New(m.Limits)})
	mesh, plain := Listen(m.tb), Listen(m.tb)
	w.Mesh, w.Plain = mesh.Addr().String(), plain.Addr().String()
	ep.MeshPort = netip.MustParseAddrPort(w.Mesh).Port()
	ep.ID = m.CA.ID(m.tb, Account(service))
	Run(m.tb, w.Inbound.Run)
	Run(m.tb, func(ctx context.Context) error { return w.Inbound.ServeMesh(ctx, mesh) })
	Run(m.tb, func(ctx context.Context) error { return w.Inbound.ServePlaintext(ctx, plain, ep.TargetPort) })
	return w
}

// Client is a program's outbound sidecar.
type Client struct {
	Outbound *outbound.Server
	Tables   *table.Holder
	Identity *spiffe.Source
	Records  *Records
	Outside  *Outside

	tb testing.TB
}

// Client starts a sidecar for an account's program.
func (m *Mesh) Client(account string) *Client {
	m.tb.Helper()
	c := &Client{Tables: &table.Holder{}, Identity: m.CA.Source(m.tb, Account(account)), Records: &Records{}, tb: m.tb}
	c.Outside = &Outside{at: map[netip.AddrPort]string{}, names: map[string][]netip.Addr{}}
	answered := make(chan struct{})
	close(answered)
	c.Outbound = outbound.New(outbound.Config{
		Tables: c.Tables, Identity: c.Identity, Health: health.NewRegistry(), Emit: c.Records.Emit, Hold: 100 * time.Millisecond,
		Outside: c.Outside.dial, Resolve: c.Outside.resolve, WantAddress: func(netip.Addr) <-chan struct{} { return answered },
		Guard: limit.New(m.Limits),
	})
	m.mu.Lock()
	m.clients = append(m.clients, c)
	c.Tables.Store(m.table())
	m.mu.Unlock()
	Run(m.tb, c.Outbound.Run)
	return c
}

// Upstream starts a listener for "default/service" and returns its address.
func (c *Client) Upstream(service string) string {
	c.tb.Helper()
	ln := Listen(c.tb)
	Run(c.tb, func(ctx context.Context) error {
		return c.Outbound.Serve(ctx, ln, outbound.Upstream{Service: "default/" + service, Port: 80})
	})
	return ln.Addr().String()
}

// Listen opens a loopback listener.
func Listen(tb testing.TB) net.Listener {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return ln
}

// Run runs a part until the test ends.
func Run(tb testing.TB, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
}

// Records collects what was emitted.
type Records struct {
	mu   sync.Mutex
	cond *sync.Cond
	list []flow.Record
	drop bool
}

// Forget keeps nothing from now on: benchmarks make too many.
func (r *Records) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop = true
}

// Emit keeps a copy.
func (r *Records) Emit(rec *flow.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.drop {
		return
	}
	r.list = append(r.list, *rec)
	if r.cond != nil {
		r.cond.Broadcast()
	}
}

// Wait returns the records once there are at least n.
func (r *Records) Wait(n int) []flow.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cond == nil {
		r.cond = sync.NewCond(&r.mu)
	}
	for len(r.list) < n {
		r.cond.Wait()
	}
	return append([]flow.Record(nil), r.list...)
}

// Take returns what there is and forgets it.
func (r *Records) Take() []flow.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.list
	r.list = nil
	return list
}

// Allow lets the accounts do everything.
func (m *Mesh) Allow(accounts ...string) *table.Access {
	ids := map[spiffeid.ID]struct{}{}
	for _, a := range accounts {
		ids[m.CA.ID(m.tb, Account(a))] = struct{}{}
	}
	return &table.Access{Rules: []table.AccessRule{{Name: "default/allow[0]", IDs: ids}}}
}
