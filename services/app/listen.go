package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// listen binds a service's ports, writes what it got into the settings, and makes the Env.
func (p *process) listen(ctx context.Context, b Build) (*unit, error) {
	port := p.Settings.Listen.Port(b.Name)
	if port == nil {
		return nil, fmt.Errorf("build %q: there is no such service; there are %q", b.Name, Names())
	}
	u := &unit{
		name: b.Name, build: b, log: p.Log.Named(b.Name), trust: spiffe.NewSource(nil), memory: rpc.NewMemory(),
		local: p.unit, bundled: &p.bundled, td: p.trustDomain,
		extra: map[string]net.Listener{}, conns: map[string]*grpc.ClientConn{},
	}
	u.metrics = newRegistry(u.trust)
	if err := p.bind(ctx, u, port); err != nil {
		return nil, err
	}
	host, err := p.Settings.advertised()
	if err != nil {
		return nil, errors.Join(err, u.grpcListener.Close(), u.adminListener.Close())
	}
	address := net.JoinHostPort(host, strconv.Itoa(*port))
	if list := p.Settings.Addresses.list(b.Name); len(*list) == 0 {
		*list = []string{address}
	}
	store := kv.Scoped(p.store, StorePrefix(b.Name))
	u.peers = newPeers(peersConfig{
		service: b.Name, replica: p.replica, address: address, store: store, trust: u.trust, trustDomain: p.trustDomain, log: u.log.Named("peers"),
	})
	u.env = &Env{
		Log: u.log, Settings: p.Settings, Store: store, Trust: u.trust, Dial: u.dial, DialEach: u.dialEach, Metrics: u.metrics,
		Replica: p.replica, Peers: u.peers, Listen: u.listener,
	}
	return u, nil
}

// bind opens the listeners of a service.
func (p *process) bind(ctx context.Context, u *unit, port *int) (err error) {
	l := &p.Settings.Listen
	adminPort := 0
	if *port != 0 {
		adminPort = *port + adminOffset
	}
	if u.grpcListener, err = rpc.Listen(ctx, l.Host, *port); err != nil {
		return fmt.Errorf("%s: %w", u.name, err)
	}
	*port = portOf(u.grpcListener)
	if u.adminListener, err = rpc.Listen(ctx, l.Host, adminPort); err != nil {
		return errors.Join(fmt.Errorf("%s health and metrics: %w", u.name, err), u.grpcListener.Close())
	}
	if u.name != Gateway {
		return nil
	}
	rest, err := rpc.Listen(ctx, l.Host, l.GatewayREST)
	if err != nil {
		return errors.Join(fmt.Errorf("%s REST: %w", u.name, err), u.grpcListener.Close(), u.adminListener.Close())
	}
	l.GatewayREST = portOf(rest)
	u.extra[ListenREST] = rest
	u.extra[ListenGRPC] = u.grpcListener
	u.restAddress = rest.Addr().String()
	return nil
}

// unit finds a service of this process.
func (p *process) unit(service string) *unit {
	for _, u := range p.units {
		if u.name == service {
			return u
		}
	}
	return nil
}

func portOf(l net.Listener) int {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// advertised is the host under which others reach this process.
func (s *Settings) advertised() (string, error) {
	if s.Listen.Advertise != "" {
		return s.Listen.Advertise, nil
	}
	if ip := net.ParseIP(s.Listen.Host); ip == nil || !ip.IsUnspecified() {
		return s.Listen.Host, nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("find the address to advertise; set advertise: %w", err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return n.IP.String(), nil
		}
	}
	return "127.0.0.1", nil
}
