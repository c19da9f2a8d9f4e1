package inbound

import (
	"context"
	"time"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/detect"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/identity"
	"github.com/weft-mesh/weft/proxy/internal/listener"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// firstWord is how long a client of HTTP may stay silent.
const firstWord = 10 * time.Minute

// serveMesh handles one connection on the mesh port.
func (s *Server) serveMesh(ctx context.Context, session *listener.Session) {
	rec := begin()
	if err := session.Refused(); err != nil {
		s.end(&rec, flow.Fail(flow.Overload, err)) // no handshake for one too many: its sidecar goes elsewhere
		return
	}
	if reason := s.hold.Identity(ctx); reason != flow.None {
		s.end(&rec, flow.Fail(reason, spiffe.ErrNoSVID))
		return
	}
	accepted, err := s.tls.Accept(ctx, session.Conn)
	if err != nil {
		s.end(&rec, err)
		return
	}
	defer s.watch(accepted.Conn)()
	c := &caller{server: s, peer: accepted.Peer, source: accepted.Peer.String(), service: accepted.Service, port: s.port(accepted.TargetPort)}
	rec.Peer, rec.MTLS, rec.Service, rec.Handshakes = accepted.Peer, true, accepted.Service, 1
	if accepted.ALPN == identity.ALPNUDP {
		c.udp = true
		s.udp(ctx, accepted.Conn, c, &rec)
		return
	}
	conn := wire.New(accepted.Conn, s.sweeper)
	defer conn.Close()
	switch accepted.ALPN {
	case identity.ALPNHTTP1:
		rec.Handshakes = 0 // one for all requests; the counter of the server has it
		s.engine.Serve(ctx, session, conn, c, rec)
	case identity.ALPNHTTP2:
		_ = s.h2.Serve(ctx, conn.Stream(), c.downstream(true)) // its errors are the client's; every request has its own record
	default:
		s.tcp(ctx, conn, c, &rec)
	}
}

// servePlaintext handles one connection on the plaintext port.
func (s *Server) servePlaintext(ctx context.Context, session *listener.Session, appPort uint16) {
	rec := begin()
	c := &caller{server: s, port: s.port(appPort)}
	conn := wire.New(session.Conn, s.sweeper)
	defer conn.Close()
	if c.over = session.Refused(); c.over != nil {
		s.refuse(ctx, session, conn, c, &rec, flow.Overload)
		return
	}
	t, reason := s.hold.Table(ctx)
	if reason != flow.None {
		s.refuse(ctx, session, conn, c, &rec, reason)
		return
	}
	in, _ := c.target(t)
	declared := detect.Declared(in.Protocol)
	decided := c.port.detected.Decided()
	switch {
	case declared == detect.HTTP2:
		_ = s.h2.Serve(ctx, conn.Stream(), c.downstream(false))
	case declared == detect.TCP || declared == detect.More && in.Protocol == table.Detect && decided == detect.TCP:
		s.tcp(ctx, conn, c, &rec)
	case in.Protocol == table.HTTP || decided == detect.HTTP1:
		s.http(ctx, session, conn, c, &rec)
	default:
		s.detect(ctx, session, conn, c, &rec)
	}
}

// http serves a port of HTTP: the client's first bytes tell the version.
func (s *Server) http(ctx context.Context, session *listener.Session, conn *wire.Conn, c *caller, rec *flow.Record) {
	session.Idle()
	conn.Arm(firstWord)
	for v := detect.More; v == detect.More; v = detect.Preface(conn.Buffered()) {
		if conn.Fill() != nil || !session.Busy() {
			return
		}
	}
	s.speak(ctx, session, conn, c, rec, detect.Preface(conn.Buffered()))
}

// speak goes on with a version of HTTP, or ends the connection.
func (s *Server) speak(ctx context.Context, session *listener.Session, conn *wire.Conn, c *caller, rec *flow.Record, v detect.Verdict) {
	switch v {
	case detect.HTTP1:
		s.engine.Serve(ctx, session, conn, c, *rec)
	case detect.HTTP2:
		_ = s.h2.Serve(ctx, conn.Stream(), c.downstream(false))
	}
}

// tcp relays a connection to the program.
func (s *Server) tcp(ctx context.Context, conn *wire.Conn, c *caller, rec *flow.Record) {
	up, err := s.connect(ctx, c, rec)
	if err != nil {
		s.end(rec, err)
		return
	}
	s.engine.Stream(conn, up, rec, c.allowed)
}

func (s *Server) connect(ctx context.Context, c *caller, rec *flow.Record) (*wire.Conn, error) {
	if err := c.admit(ctx, nil, rec); err != nil {
		return nil, err
	}
	rec.Tries++
	rec.Endpoint = c.port.endpoint
	nc, err := s.dialApp(ctx, c.port.endpoint)
	if err != nil {
		return nil, err
	}
	return wire.New(nc, s.sweeper), nil
}

// detect serves a port whose protocol nobody knows yet. The program is dialled at once, so that it may speak first; where
// access needs a request to judge, only the client's words can help.
func (s *Server) detect(ctx context.Context, session *listener.Session, conn *wire.Conn, c *caller, rec *flow.Record) {
	up, err := s.connect(ctx, c, rec)
	v := detect.Race(&c.port.detected, conn, up)
	http := v == detect.HTTP1 || v == detect.HTTP2
	switch {
	case up != nil && !http:
		s.engine.Stream(conn, up, rec, c.allowed)
	case http:
		if up != nil {
			up.Close()
		}
		fresh := begin()
		s.speak(ctx, session, conn, c, &fresh, v)
	default:
		s.end(rec, err)
	}
}

// refuse ends a connection, by an answer if the client speaks HTTP.
func (s *Server) refuse(ctx context.Context, session *listener.Session, conn *wire.Conn, c *caller, rec *flow.Record, reason flow.Reason) {
	var unknown detect.Port // this says nothing about the port
	if v := detect.Race(&unknown, conn, nil); v == detect.HTTP1 || v == detect.HTTP2 {
		s.speak(ctx, session, conn, c, rec, v)
		return
	}
	s.end(rec, c.fail(reason))
}

func begin() (rec flow.Record) {
	rec.Reset()
	rec.Direction, rec.Start = flow.Inbound, time.Now()
	return rec
}

func (s *Server) end(rec *flow.Record, err error) {
	rec.Reason, rec.Err = flow.ReasonOf(err, flow.Connect), err
	s.engine.End(rec)
}
