package outbound

import (
	"context"
	"net"

	"github.com/weft-mesh/weft/proxy/internal/detect"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/forward"
	"github.com/weft-mesh/weft/proxy/internal/h1"
	"github.com/weft-mesh/weft/proxy/internal/h2"
	"github.com/weft-mesh/weft/proxy/internal/listener"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// turnAway ends a connection to what is not served, by an answer to every request if the client speaks HTTP, else by a reset.
// err is a *flow.Failure.
func (s *Server) turnAway(ctx context.Context, session *listener.Session, conn *wire.Conn, rec flow.Record, err error) {
	verdict := detect.Sniff(conn.Buffered()) // of a client that was listened to already
	if verdict == detect.More {
		var unknown detect.Port // this says nothing about the port
		verdict = detect.Race(&unknown, conn, nil)
	}
	switch verdict {
	case detect.HTTP1:
		s.engine.Serve(ctx, session, conn, refusal{err}, rec)
	case detect.HTTP2:
		_ = s.h2.Serve(ctx, conn.Stream(), h2.Downstream{Decide: refusal{err}.plan(rec)})
	default:
		s.end(&rec, err)
		reset(conn)
	}
}

// refusal decides every request of a connection with no.
type refusal struct{ err error }

var _ forward.Decider = refusal{}

// Admit says why.
func (r refusal) Admit(context.Context, *h1.Request, *flow.Record) error { return r.err }

// Target is not reached, and says the same.
func (r refusal) Target(context.Context, *h1.Request, []*table.Endpoint, *flow.Record) (forward.Target, error) {
	return forward.Target{}, r.err
}

// Settle has nothing to settle.
func (r refusal) Settle(forward.Outcome) {}

// Retry never helps.
func (r refusal) Retry() bool { return false }

func (r refusal) plan(base flow.Record) func(flow.Request, uint32, *flow.Record) h2.Plan {
	return func(_ flow.Request, _ uint32, rec *flow.Record) h2.Plan {
		rec.Service, rec.Outside = base.Service, base.Outside
		return h2.Plan{Reason: flow.ReasonOf(r.err, flow.Egress), Err: r.err}
	}
}

// reset closes a connection so that the client sees an error, not an end.
func reset(conn *wire.Conn) {
	if tcp, ok := conn.NetConn().(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only on a closed connection
	}
}
