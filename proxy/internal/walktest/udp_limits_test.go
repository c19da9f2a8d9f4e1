package walktest

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/datagram"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/health"
	"github.com/weft-mesh/weft/proxy/internal/outbound"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// TestUDPDrainLetsAnswersThrough: what is under way when the server's sidecar drains still comes to its end, and only then
// does the session.
func TestUDPDrainLetsAnswersThrough(t *testing.T) {
	m := New(t)
	m.Service("dns", table.UDP)
	asked, answer := make(chan struct{}), make(chan struct{})
	w := m.Workload("dns", "dns-1", udpProgram(t, func(b []byte, _ netip.AddrPort) []byte {
		close(asked)
		<-answer
		return []byte("late")
	}), m.Allow("shop"))
	c := m.Client("shop")
	udp := udpDial(t, c.packets("dns"))
	udp.send("x")
	<-asked
	drained := make(chan error, 1)
	go func() { drained <- w.Inbound.Drain(t.Context()) }()
	close(answer)
	if got := udp.receive(); got != "late" {
		t.Errorf("got %q", got)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	for _, rec := range []flow.Record{w.Records.Wait(1)[0], c.Records.Wait(1)[0]} {
		if rec.Reason != flow.None || rec.BytesReceived != 4 {
			t.Errorf("%v record %+v", rec.Direction, rec)
		}
	}
}

// outboundOf is a client's sidecar with limits of its own.
func (m *Mesh) outboundOf(t *testing.T, c *Client, change func(*outbound.Config)) *Client {
	t.Helper()
	next := &Client{Tables: c.Tables, Identity: c.Identity, Records: &Records{}, tb: t}
	cfg := outbound.Config{Tables: c.Tables, Identity: c.Identity, Health: health.NewRegistry(), Emit: next.Records.Emit}
	change(&cfg)
	next.Outbound = outbound.New(cfg)
	Run(t, next.Outbound.Run)
	return next
}

func TestUDPTooManySessionsAreReadable(t *testing.T) {
	m := New(t)
	m.Service("dns", table.UDP)
	m.Workload("dns", "dns-1", udpProgram(t, named("a")), m.Allow("shop"))
	c := m.outboundOf(t, m.Client("shop"), func(cfg *outbound.Config) { cfg.MaxSessions = 1 })
	addr := c.packets("dns")
	first := udpDial(t, addr)
	first.ask("x")
	udpDial(t, addr).send("one too many")
	if rec := c.Records.Wait(1)[0]; rec.Reason != flow.Overload || rec.Service != "default/dns" || rec.Protocol != flow.UDP {
		t.Errorf("record %+v", rec)
	}
	if n := c.Outbound.Datagrams().Dropped.Refused.Load(); n != 1 {
		t.Errorf("%d datagrams are counted as refused", n)
	}
	first.ask("y") // who has a session keeps it
}

func TestUDPOpenSessionsAreSeen(t *testing.T) {
	m := New(t)
	m.Service("dns", table.UDP)
	m.Workload("dns", "dns-1", udpProgram(t, named("a")), m.Allow("shop"))
	var mu sync.Mutex
	var open int
	var sent, received int64
	c := m.outboundOf(t, m.Client("shop"), func(cfg *outbound.Config) {
		cfg.SessionIdle = time.Second
		cfg.Open = func(rec *flow.Record) flow.Progress {
			mu.Lock()
			defer mu.Unlock()
			if rec.Protocol == flow.UDP && rec.Endpoint != nil {
				open++
			}
			return func(s, r int64) {
				mu.Lock()
				defer mu.Unlock()
				sent, received = sent+s, received+r
			}
		}
	})
	udpDial(t, c.packets("dns")).ask("x")
	if rec := c.Records.Wait(1)[0]; !rec.Opened || rec.Reason != flow.None { // idle for a second
		t.Errorf("record %+v", rec)
	}
	mu.Lock()
	defer mu.Unlock()
	if open != 1 || sent != 1 || received != 3 {
		t.Errorf("%d sessions opened, %d bytes sent, %d received", open, sent, received)
	}
}

// captured is Packets as a capturing socket gives them: any destination.
type captured struct {
	in      chan packet
	replies chan packet
	closed  chan struct{}
	once    sync.Once
}

type packet struct {
	payload  string
	from, to netip.AddrPort
}

func (c *captured) Read(b []byte) (int, netip.AddrPort, netip.AddrPort, error) {
	select {
	case p := <-c.in:
		return copy(b, p.payload), p.from, p.to, nil
	case <-c.closed:
		return 0, netip.AddrPort{}, netip.AddrPort{}, context.Canceled
	}
}

func (c *captured) Reply(b []byte, from, to netip.AddrPort) error {
	c.replies <- packet{string(b), from, to}
	return nil
}

func (c *captured) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

var _ datagram.Packets = (*captured)(nil)

// withAddress is an index in which one service has a virtual address.
type withAddress struct {
	table.Index
	service string
	address netip.Addr
}

func (x withAddress) ByAddress(addr netip.Addr) (table.IndexEntry, bool) {
	return table.IndexEntry{Name: x.service}, addr == x.address
}

// only is an address with one program that takes datagrams.
func only(ep *table.Endpoint) *table.Address {
	set := &table.EndpointSet{Key: "address/" + ep.Key, Service: ep.Service, Endpoints: []*table.Endpoint{ep}}
	return &table.Address{Address: ep.Address, Ports: []table.AddressPort{{Target: ep.TargetPort, UDP: true, Service: &table.Service{
		Name:  ep.Service,
		Rules: []table.Rule{{Backends: []table.Backend{{Service: ep.Service, Weight: 1, Set: set}}, TotalWeight: 1}},
	}}}}
}

// TestUDPCapturedDestinations: a virtual address is its service, an endpoint's own address is that endpoint through its
// sidecar, and what is outside is called in plaintext or refused, as egress has it, under the name of its external service. Replies come from
// where the client sent to.
func TestUDPCapturedDestinations(t *testing.T) {
	virtual, user := netip.MustParseAddr("198.18.0.7"), netip.MustParseAddrPort("10.9.9.9:4000")
	m := New(t)
	m.Service("dns", table.UDP)
	first := m.Workload("dns", "dns-1", udpProgram(t, named("first")), m.Allow("shop"))
	m.Workload("dns", "dns-2", udpProgram(t, named("second")), m.Allow("shop"))
	program := udpProgram(t, named("outside"))
	outside := netip.MustParseAddrPort("192.0.2.53:53")
	partner := []table.ExternalService{{Name: "default/partner", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.53/32")}}}
	for _, tt := range []struct {
		name     string
		to       netip.AddrPort
		mode     table.MTLSMode
		external []table.ExternalService
		want     string // empty: refused
		reason   flow.Reason
		mtls     bool
		service  string
	}{
		{name: "virtual address", to: netip.AddrPortFrom(virtual, 80), want: "first|second", mtls: true, service: "default/dns"},
		{name: "virtual address, another port", to: netip.AddrPortFrom(virtual, 81), reason: flow.NoRoute, service: "default/dns"},
		{name: "endpoint", to: netip.AddrPortFrom(first.Endpoint.Address, first.Endpoint.TargetPort), want: "first", mtls: true, service: "default/dns"},
		{name: "outside", to: outside, mode: table.Permissive, want: "outside", service: "external"},
		{name: "outside, named", to: outside, mode: table.Permissive, external: partner, want: "outside", service: "default/partner"},
		{name: "outside, strict", to: outside, mode: table.Strict, reason: flow.Egress, service: "external"},
		{name: "outside, strict, named", to: outside, mode: table.Strict, external: partner, want: "outside", service: "default/partner"},
		{name: "loopback", to: netip.MustParseAddrPort("127.0.0.1:53"), mode: table.Permissive, reason: flow.Egress, service: "external"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := m.Client("shop")
			next := *base.Tables.Load()
			next.Mesh.MTLS = tt.mode
			next.Egress = &table.Egress{Strict: tt.mode == table.Strict, Services: tt.external}
			next.Index = withAddress{next.Index, "default/dns", virtual}
			next.Addresses = map[netip.Addr]*table.Address{first.Endpoint.Address: only(first.Endpoint)}
			base.Tables.Store(&next)
			answered := make(chan struct{})
			close(answered)
			c := m.outboundOf(t, base, func(cfg *outbound.Config) {
				cfg.WantAddress = func(netip.Addr) <-chan struct{} { return answered }
				cfg.DialUDP = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
					at := to.String()
					if to == outside {
						at = program.String()
					}
					var d net.Dialer
					return d.DialContext(ctx, "udp", at)
				}
			})
			p := &captured{in: make(chan packet), replies: make(chan packet, 10), closed: make(chan struct{})}
			Run(t, func(ctx context.Context) error {
				return c.Outbound.ServePackets(ctx, p, c.Outbound.Captured)
			})
			p.in <- packet{"x", user, tt.to}
			if tt.want == "" {
				if rec := c.Records.Wait(1)[0]; rec.Reason != tt.reason || rec.Service != tt.service {
					t.Errorf("record %+v", rec)
				}
				return
			}
			var reply packet
			select {
			case reply = <-p.replies:
			case <-time.After(20 * time.Second):
				t.Fatalf("no reply; records %+v", c.Records.Wait(1))
			}
			if reply.from != tt.to || reply.to != user || tt.want != "first|second" && reply.payload != tt.want+" x" {
				t.Errorf("got %+v", reply)
			}
			if err := c.Outbound.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			if rec := c.Records.Wait(1)[0]; rec.MTLS != tt.mtls || rec.Reason != flow.None || rec.Service != tt.service {
				t.Errorf("record %+v", rec)
			}
		})
	}
}
