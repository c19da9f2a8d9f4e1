package outbound

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/detect"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/forward"
	"github.com/weft-mesh/weft/proxy/internal/h2"
	"github.com/weft-mesh/weft/proxy/internal/identity"
	"github.com/weft-mesh/weft/proxy/internal/listener"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

const (
	// firstWord is how long a client of HTTP may stay silent.
	firstWord = 10 * time.Minute
	// tcpTries bounds how often a connection is tried elsewhere; nothing was sent in any of them.
	tcpTries = 4
)

// serve handles one connection of the program.
func (s *Server) serve(ctx context.Context, session *listener.Session, p *port) {
	conn := wire.New(session.Conn, s.sweeper)
	defer conn.Close()
	if err := session.Refused(); err != nil {
		s.turnAway(ctx, session, conn, p.record(), flow.Fail(flow.Overload, err))
		return
	}
	_, svc, reason := s.service(ctx, p)
	if reason != flow.None {
		s.refuse(ctx, session, conn, p, reason)
		return
	}
	s.speak(ctx, session, conn, p, svc)
}

// speak serves a connection by the protocol of its port.
func (s *Server) speak(ctx context.Context, session *listener.Session, conn *wire.Conn, p *port, svc *table.Service) {
	sp, _ := svc.Port(p.Port) // one that does not exist is refused by route, readably
	switch detect.Declared(sp.Protocol) {
	case detect.TCP:
		s.tcp(ctx, conn, p)
		return
	case detect.HTTP2:
		s.http2(ctx, conn, p, flow.None)
		return
	}
	if sp.Protocol == table.HTTP || p.detected.Decided() == detect.HTTP1 {
		s.http(ctx, session, conn, p)
		return
	}
	if p.detected.Decided() == detect.TCP {
		s.tcp(ctx, conn, p)
		return
	}
	s.detect(ctx, session, conn, p)
}

// http serves a port of HTTP: the client's first bytes tell the version.
func (s *Server) http(ctx context.Context, session *listener.Session, conn *wire.Conn, p *port) {
	session.Idle()
	conn.Arm(firstWord)
	for {
		if conn.Fill() != nil || !session.Busy() {
			return
		}
		switch detect.Preface(conn.Buffered()) {
		case detect.HTTP2:
			s.http2(ctx, conn, p, flow.None)
			return
		case detect.HTTP1:
			s.http1(ctx, session, conn, p, flow.None)
			return
		}
	}
}

func (s *Server) http1(ctx context.Context, session *listener.Session, conn *wire.Conn, p *port, known flow.Reason) {
	s.engine.Serve(ctx, session, conn, &decider{server: s, port: p, known: known}, p.record())
}

func (s *Server) http2(ctx context.Context, conn *wire.Conn, p *port, known flow.Reason) {
	// Its errors are the client's; every request has its own record.
	_ = s.h2.Serve(ctx, conn.Stream(), h2.Downstream{Decide: s.plan(p, known)})
}

// tcp relays a connection to an endpoint.
func (s *Server) tcp(ctx context.Context, conn *wire.Conn, p *port) {
	rec := p.record()
	d := &decider{server: s, port: p}
	up, err := s.connect(ctx, d, &rec)
	if err != nil {
		s.end(&rec, err)
		return
	}
	s.stream(conn, up, d, &rec)
}

func (s *Server) stream(conn, up *wire.Conn, d *decider, rec *flow.Record) {
	latency := time.Since(rec.Start)
	s.engine.Stream(conn, up, rec, nil)
	d.Settle(forward.Outcome{Latency: latency, Failed: rec.Reason == flow.UpstreamReset})
}

// connect finds an endpoint that takes the connection. The decider's choice is settled unless it succeeds.
func (s *Server) connect(ctx context.Context, d *decider, rec *flow.Record) (conn *wire.Conn, err error) {
	err = s.tries(ctx, d, rec, func(target forward.Target) error {
		nc, err := s.dialer.Dial(ctx, target.Endpoint, identity.ALPNTCP)
		if err == nil {
			conn = wire.New(nc, s.sweeper)
		}
		return err
	})
	return conn, err
}

// tries dials one endpoint after the other until one succeeds.
func (s *Server) tries(ctx context.Context, d *decider, rec *flow.Record, dial func(forward.Target) error) error {
	d.rnd = rand.Uint32()
	s.budget.Request()
	var failed []*table.Endpoint
	var last error
	for {
		target, err := d.target(ctx, nil, failed, rec)
		if err != nil {
			return first(last, err)
		}
		if contains(failed, target.Endpoint) {
			d.Settle(forward.Outcome{Abandoned: true})
			return last
		}
		rec.Tries++
		rec.Endpoint = target.Endpoint
		err = dial(target)
		if err == nil {
			if target.Mesh {
				rec.Handshakes++
			}
			return nil
		}
		last = err
		reason := flow.ReasonOf(err, flow.Connect)
		fault := reason == flow.Connect || reason == flow.TLS
		d.Settle(forward.Outcome{Failed: fault, ConnectFailed: fault, Abandoned: !fault})
		failed = append(failed, target.Endpoint)
		if !fault || rec.Tries == tcpTries || !s.budget.Retry() {
			return err
		}
	}
}

// detect serves a port whose protocol nobody knows yet. An endpoint is dialled at once, so that a server may speak first.
func (s *Server) detect(ctx context.Context, session *listener.Session, conn *wire.Conn, p *port) {
	rec := p.record()
	d := &decider{server: s, port: p}
	up, err := s.connect(ctx, d, &rec)
	verdict := detect.Race(&p.detected, conn, up)
	if up == nil {
		s.without(ctx, session, conn, p, verdict, &rec, err)
		return
	}
	if verdict != detect.HTTP1 && verdict != detect.HTTP2 {
		s.stream(conn, up, d, &rec)
		return
	}
	up.Close()
	d.Settle(forward.Outcome{Abandoned: true})
	s.without(ctx, session, conn, p, verdict, &rec, nil)
}

// without goes on by HTTP when that is what the client speaks, and else ends a connection that has no other end.
func (s *Server) without(ctx context.Context, session *listener.Session, conn *wire.Conn, p *port, v detect.Verdict, rec *flow.Record, err error) {
	switch v {
	case detect.HTTP1:
		s.http1(ctx, session, conn, p, known(err))
	case detect.HTTP2:
		s.http2(ctx, conn, p, known(err))
	default:
		s.end(rec, err)
	}
}

// refuse ends a connection to what cannot be served, by an answer if the client speaks HTTP.
func (s *Server) refuse(ctx context.Context, session *listener.Session, conn *wire.Conn, p *port, reason flow.Reason) {
	rec := p.record()
	var unknown detect.Port // this says nothing about the port
	s.without(ctx, session, conn, p, detect.Race(&unknown, conn, nil), &rec, p.fail(reason))
}

// known is what a connection has waited for in vain: its first request need not wait again.
func known(err error) flow.Reason {
	switch reason := flow.ReasonOf(err, flow.None); reason {
	case flow.NotReady, flow.NotSubscribed, flow.NoRoute:
		return reason
	}
	return flow.None
}

func (p *port) record() (rec flow.Record) {
	rec.Reset()
	rec.Direction, rec.Service, rec.Start = flow.Outbound, p.Service, time.Now()
	return rec
}

func (s *Server) end(rec *flow.Record, err error) {
	rec.Reason, rec.Err = flow.ReasonOf(err, flow.Connect), err
	s.engine.End(rec)
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func contains(list []*table.Endpoint, ep *table.Endpoint) bool {
	for _, e := range list {
		if e == ep {
			return true
		}
	}
	return false
}
