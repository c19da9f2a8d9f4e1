package proxy

import (
	"context"
	"fmt"
	"net/netip"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/proxy/internal/datagram"
	"github.com/weft-mesh/weft/proxy/internal/netspace"
	"github.com/weft-mesh/weft/proxy/internal/observe"
	"github.com/weft-mesh/weft/proxy/internal/outbound"
)

// packets are the sidecar's open sockets of UDP.
type packets struct {
	inbound   *datagram.Socket            // plaintext to the app; nil when it takes none
	upstreams map[string]*datagram.Socket // by Upstream.Key
}

// packets opens the sockets of UDP; on an error the opener closes them with the others.
func (o *opener) packets(cfg Config, space *netspace.Space, host string) (_ packets, err error) {
	p := packets{upstreams: map[string]*datagram.Socket{}}
	if cfg.datagrams() {
		if p.inbound, err = o.plaintextDatagrams(&cfg, host); err != nil {
			return p, err
		}
	}
	for _, u := range cfg.Upstreams {
		if !u.UDP {
			continue
		}
		if p.upstreams[u.Key()], err = o.socket("upstream "+u.Key(), space, "127.0.0.1", u.LocalPort, o.last.Upstreams[u.Key()]); err != nil {
			return p, err
		}
	}
	return p, nil
}

// plaintextDatagrams is plaintext for UDP.
func (o *opener) plaintextDatagrams(cfg *Config, host string) (*datagram.Socket, error) {
	port, required := cfg.plaintextPort()
	if required {
		return o.socket("inbound datagrams", netspace.Own(), host, port, o.last.Datagrams)
	}
	if port == 0 {
		return nil, nil
	}
	s, err := o.socket("inbound datagrams", netspace.Own(), host, port, "")
	if err != nil {
		o.unpublished(port, err)
		return nil, nil
	}
	return s, nil
}

// socket is listen for UDP.
func (o *opener) socket(what string, space *netspace.Space, host string, want uint16, last string) (*datagram.Socket, error) {
	addr := netip.IPv6Unspecified() // takes IPv4 too
	if host != "" {
		addr = netip.MustParseAddr(host) // validated, or our own
	}
	port := want
	if want == 0 {
		port = portOf(last)
	}
	ctx := context.Background() // names are not resolved: nothing to wait for
	conn, err := o.inheritPackets(what)
	if conn == nil && err == nil {
		conn, err = space.ListenPacket(ctx, "udp", netip.AddrPortFrom(addr, port).String(), nil)
		if err != nil && want == 0 && port != 0 {
			o.log.Warn("port of the last run is taken, another one is used", zap.String("listener", what), zap.Uint16("port", port))
			conn, err = space.ListenPacket(ctx, "udp", netip.AddrPortFrom(addr, 0).String(), nil)
		}
		o.keepPackets(what, conn)
	}
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", what, err)
	}
	return datagram.On(conn)
}

func (p packets) close() {
	if p.inbound != nil {
		_ = p.inbound.Close()
	}
	for _, s := range p.upstreams {
		_ = s.Close()
	}
}

// silence leaves what comes to another process.
func (p packets) silence() {
	if p.inbound != nil {
		p.inbound.Silence()
	}
	for _, s := range p.upstreams {
		s.Silence()
	}
}

// describe adds the sockets to what ports.json says.
func (p packets) describe(to *ports) {
	if p.inbound != nil {
		to.Datagrams = p.inbound.Addr().String()
	}
	for key, s := range p.upstreams {
		to.Upstreams[key] = s.Addr().String()
	}
}

// inboundPackets adds what serves UDP towards the app; outboundPackets, what serves it from there. A socket of UDP is read by one
// process at a time.
func (t *traffic) inboundPackets(g *lifecycle.Group) {
	serve := func(name string, p datagram.Packets) {
		g.Add(name, t.tenure.After(func(ctx context.Context) error { return t.in.ServePlaintextPackets(ctx, p, t.cfg.AppPort) }))
	}
	if p := t.listeners.packets.inbound; p != nil {
		serve("plaintext datagrams", p)
	}
	if c := t.listeners.captured; c != nil && c.datagrams != nil {
		serve("captured plaintext datagrams", c.datagrams)
	}
}

func (t *traffic) outboundPackets(g *lifecycle.Group) {
	if c := t.listeners.captured; c != nil {
		g.Add("captured datagrams", t.tenure.After(func(ctx context.Context) error {
			return t.out.ServePackets(ctx, c.packets, t.out.Captured)
		}))
	}
	for _, u := range t.cfg.Upstreams {
		if p := t.listeners.packets.upstreams[u.Key()]; p != nil {
			g.Add("upstream "+u.Key(), t.tenure.After(func(ctx context.Context) error {
				return t.out.ServePackets(ctx, p, outbound.Fixed(upstreamOf(u)))
			}))
		}
	}
}

func datagramsOf(s *datagram.Sessions) observe.Datagrams {
	return observe.Datagrams{Sessions: int64(s.Len()), Dropped: map[string]uint64{
		"backpressure": s.Dropped.Backpressure.Load(), "refused": s.Dropped.Refused.Load(),
		"oversize": s.Dropped.Oversize.Load(), "unsent": s.Dropped.Unsent.Load(),
	}}
}

// bound says whether the app has bound its port of UDP: that is when it is ready, as far as anyone can tell without sending it
// something.
func bound(space *netspace.Space) func(context.Context, uint16) (bool, error) {
	return func(_ context.Context, port uint16) (is bool, err error) {
		err = space.Within(func() (err error) {
			is, err = datagram.Bound("/proc/thread-self/net", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port))
			return err
		})
		return is, err
	}
}
