package walktest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/weft-mesh/weft/proxy/internal/table"
)

// Virtual is the virtual address of "default/name" in every mesh of this package: from the name, so that no test has to count.
func Virtual(name string) netip.Addr {
	sum := byte(0)
	for _, c := range []byte(name) {
		sum = sum*31 + c
	}
	return netip.AddrFrom4([4]byte{198, 18, byte(len(name)), sum})
}

// Outside is the network outside of the mesh, as a client's sidecar sees it: made-up addresses and names that lead to programs of
// the test.
type Outside struct {
	mu    sync.Mutex
	at    map[netip.AddrPort]string
	names map[string][]netip.Addr
	// Dialled lists the addresses that were dialled.
	dialled []netip.AddrPort
}

// Put makes a program answer at an address.
func (o *Outside) Put(at string, program net.Addr) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at[netip.MustParseAddrPort(at)] = program.String()
}

// Name makes a host resolve to addresses.
func (o *Outside) Name(host string, addresses ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.names[host] = nil
	for _, a := range addresses {
		o.names[host] = append(o.names[host], netip.MustParseAddr(a))
	}
}

// Dialled are the addresses that were dialled, in order.
func (o *Outside) Dialled() []netip.AddrPort {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.dialled)
}

func (o *Outside) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	o.mu.Lock()
	o.dialled = append(o.dialled, to)
	address, ok := o.at[to]
	o.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("%s: nobody is there", to)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

func (o *Outside) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if list, ok := o.names[host]; ok {
		return slices.Clone(list), nil
	}
	return nil, errors.New("no such host")
}

// Captured starts a listener for connections that the program means for other addresses, and returns where it listens and a
// function that sets where connections from now on are meant for. Use one for each goroutine of a test.
func (c *Client) Captured() (addr string, meant func(to string)) {
	c.tb.Helper()
	ln := Listen(c.tb)
	var mu sync.Mutex
	var to netip.AddrPort
	original := func(net.Conn) (netip.AddrPort, error) {
		mu.Lock()
		defer mu.Unlock()
		if !to.IsValid() {
			return to, errors.New("it was not redirected")
		}
		return to, nil
	}
	Run(c.tb, func(ctx context.Context) error { return c.Outbound.ServeCaptured(ctx, ln, original) })
	return ln.Addr().String(), func(text string) {
		mu.Lock()
		defer mu.Unlock()
		to = netip.MustParseAddrPort(text)
	}
}

// Address tells every client what is at a workload's address: its program's port with this endpoint, or nothing for nil.
func (m *Mesh) Address(addr string, protocol table.Protocol, ep *table.Endpoint) {
	at := &table.Address{Address: netip.MustParseAddr(addr)}
	if ep != nil {
		set := &table.EndpointSet{Key: "address/" + ep.Key, Service: ep.Service, Endpoints: []*table.Endpoint{ep}}
		at.Ports = []table.AddressPort{{Target: ep.TargetPort, Service: &table.Service{
			Name:  ep.Service,
			Ports: []table.ServicePort{{Number: 80, Protocol: protocol}},
			Rules: []table.Rule{{Backends: []table.Backend{{Service: ep.Service, Weight: 1, Set: set}}, TotalWeight: 1}},
		}}}
	}
	m.Change(func(*table.Mesh, map[string]*table.Service) {
		next := map[netip.Addr]*table.Address{at.Address: at}
		for a, known := range m.addresses {
			if a != at.Address {
				next[a] = known
			}
		}
		m.addresses = next
	})
}

// Egress tells every client what may be called outside.
func (m *Mesh) Egress(e *table.Egress) {
	m.Change(func(*table.Mesh, map[string]*table.Service) { m.egress = e })
}
