package inbound

import (
	"context"
	"net"
	"net/netip"

	"github.com/weft-mesh/weft/proxy/internal/datagram"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/identity"
)

// dialUDP connects a socket to the program.
func (s *Server) dialUDP(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	return s.cfg.Space.Dial(ctx, &net.Dialer{}, "udp", addr.String())
}

// udp serves one session of another sidecar's client.
func (s *Server) udp(ctx context.Context, conn *identity.Conn, c *caller, rec *flow.Record) {
	rec.Protocol = flow.UDP
	datagram.DetectDead(conn.NetConn())
	stream := datagram.NewStream(conn)
	ctx, session, err := s.packets.Begin(ctx, datagram.Client{Peer: c.peer}, true)
	if err != nil {
		stream.Refuse(flow.ReasonOf(err, flow.Overload))
		s.end(rec, err)
		return
	}
	defer s.packets.Forget(session)
	app, err := s.reach(ctx, c, rec)
	if err != nil {
		stream.Refuse(session.Refuse(rec, err))
		return
	}
	session.Splice(stream, app, rec)
}

// reach decides about a session, and connects it to the program.
func (s *Server) reach(ctx context.Context, c *caller, rec *flow.Record) (*datagram.App, error) {
	if err := c.admit(ctx, nil, rec); err != nil {
		return nil, err
	}
	rec.Tries++
	rec.Endpoint = c.port.endpoint
	conn, err := s.dialUDP(ctx, netip.AddrPortFrom(c.port.endpoint.Address, c.port.endpoint.TargetPort))
	if err != nil {
		return nil, flow.Fail(flow.Connect, err)
	}
	return datagram.NewApp(conn), nil
}

// ServePlaintextPackets serves the datagrams of callers without a sidecar, for one port of the program, until ctx ends. It
// closes p. While the server drains, sessions that have begun go on.
func (s *Server) ServePlaintextPackets(ctx context.Context, p datagram.Packets, appPort uint16) error {
	return s.packets.Serve(ctx, p, &plaintext{server: s, packets: p, port: s.port(appPort)})
}

// plaintext makes sessions of callers that are nobody.
type plaintext struct {
	server  *Server
	packets datagram.Packets
	port    *port
}

// Carry serves one session.
func (p *plaintext) Carry(ctx context.Context, session *datagram.Session) flow.Reason {
	rec := p.record()
	c := &caller{server: p.server, port: p.port, udp: true}
	app, err := p.server.reach(ctx, c, &rec)
	if err != nil {
		return session.Refuse(&rec, err)
	}
	return session.Relay(app, datagram.Reply(p.packets, session), &rec)
}

// Refused records that there is no room.
func (p *plaintext) Refused(_ datagram.Client, err error) {
	rec := p.record()
	p.server.end(&rec, err)
}

func (p *plaintext) record() (rec flow.Record) {
	rec = begin()
	rec.Protocol = flow.UDP
	return rec
}

var _ datagram.Handler = (*plaintext)(nil)
