package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/datagram"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/forward"
	"github.com/weft-mesh/weft/proxy/internal/identity"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// errMode says that the table changed between the choice of an endpoint and the connection to it.
var errMode = errors.New("the mTLS mode has just changed")

// dialUDP is the default of Config.DialUDP.
func dialUDP(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "udp", addr.String())
}

// ServePackets carries the datagrams of the program until ctx ends, which also ends their sessions. It closes p. resolve is
// asked once for each session. While the server drains, sessions that have begun go on.
func (s *Server) ServePackets(ctx context.Context, p datagram.Packets, resolve Resolve) error {
	return s.packets.Serve(ctx, p, &carrier{server: s, packets: p, resolve: resolve})
}

// carrier makes the sessions of one Packets.
type carrier struct {
	server  *Server
	packets datagram.Packets
	resolve Resolve
}

var _ datagram.Handler = (*carrier)(nil)

// Carry serves one session: it keeps the endpoint that it begins with.
func (c *carrier) Carry(ctx context.Context, session *datagram.Session) flow.Reason {
	to := c.resolve(ctx, session.To)
	rec := to.record()
	d := &decider{server: c.server, port: &port{Upstream: to.Upstream}}
	peer, err := c.server.farEnd(ctx, d, to, &rec)
	if err != nil {
		return session.Refuse(&rec, err)
	}
	latency := time.Since(rec.Start)
	reason := session.Relay(peer, datagram.Reply(c.packets, session), &rec)
	d.Settle(outcome(reason, latency))
	return reason
}

// outcome is what the end of a session says of its endpoint.
func outcome(reason flow.Reason, latency time.Duration) forward.Outcome {
	switch reason {
	case flow.None:
		return forward.Outcome{Latency: latency}
	case flow.Denied, flow.Plaintext:
		return forward.Outcome{Abandoned: true} // it was quick, but no better for it
	case flow.Connect, flow.Draining, flow.NotReady:
		// Where nobody listens, or a sidecar ends or has just begun, nothing is to be had, as if it could not be connected.
		return forward.Outcome{Failed: true, ConnectFailed: true}
	}
	return forward.Outcome{Latency: latency, Failed: true}
}

// Refused records that there is no room.
func (c *carrier) Refused(client datagram.Client, err error) {
	now, cancel := context.WithCancel(context.Background())
	cancel() // resolve must not wait here
	to := c.resolve(now, client.To)
	rec := to.record()
	c.server.end(&rec, err)
}

func (to *Destination) record() flow.Record {
	rec := (&port{Upstream: to.Upstream}).record()
	if to.External != "" {
		rec = outsideRecord(to.External, to.Address)
	}
	rec.Protocol = flow.UDP
	return rec
}

// farEnd finds and connects the far end of a session. The decider's choice, if there is one, is settled unless it succeeds.
func (s *Server) farEnd(ctx context.Context, d *decider, to Destination, rec *flow.Record) (peer datagram.Peer, err error) {
	dial := func(target forward.Target) error {
		peer, err = s.dialPeer(ctx, target)
		return err
	}
	switch {
	case to.Reason != flow.None:
		return nil, flow.Fail(to.Reason, fmt.Errorf("destination %s", to.Address))
	case to.Service == "":
		rec.Tries++
		return s.plain(ctx, to.Address)
	case to.Endpoint != nil:
		rec.Tries++
		rec.Endpoint = to.Endpoint
		rec.MTLS = to.meshed()
		if rec.MTLS {
			rec.Handshakes++
		}
		err = dial(forward.Target{Endpoint: to.Endpoint, Mesh: rec.MTLS})
	default:
		err = s.tries(ctx, d, rec, dial)
	}
	return peer, err
}

// dialPeer connects to an endpoint's sidecar, or to the app where the endpoint has none (or in mode off).
func (s *Server) dialPeer(ctx context.Context, target forward.Target) (datagram.Peer, error) {
	ep := target.Endpoint
	if !target.Mesh {
		return s.plain(ctx, netip.AddrPortFrom(ep.Address, ep.TargetPort))
	}
	nc, err := s.dialer.Dial(ctx, ep, identity.ALPNUDP)
	if err != nil {
		return nil, err
	}
	conn, ok := nc.(*identity.Conn)
	if !ok {
		nc.Close() // plaintext, to a port of TCP that has nothing to do with it
		return nil, flow.Fail(flow.Connect, fmt.Errorf("dial %s: %w", ep.Key, errMode))
	}
	datagram.DetectDead(conn.NetConn())
	return datagram.NewStream(conn), nil
}

func (s *Server) plain(ctx context.Context, addr netip.AddrPort) (datagram.Peer, error) {
	conn, err := s.cfg.DialUDP(ctx, addr)
	if err != nil {
		return nil, flow.Fail(flow.Connect, fmt.Errorf("connect to %s: %w", addr, err))
	}
	return datagram.NewApp(conn), nil
}

// meshed says whether the endpoint that is called directly is reached through its sidecar.
func (to *Destination) meshed() bool { return to.Endpoint.MeshPort != 0 && to.mode != table.Off }
