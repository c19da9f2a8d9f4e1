package forward

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/h1"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// Errors of the client's making that have no cause of their own.
var (
	errConnect = errors.New("CONNECT is not served")
)

// exchange is the state of one client connection; it serves one request after the other.
type exchange struct {
	engine  *Engine
	ctx     context.Context
	session Session
	decider Decider
	client  *wire.Conn
	live    live
	base    flow.Record // what every record begins with

	// Of the current request.
	req     h1.Request
	resp    h1.Response
	rec     flow.Record
	out     []byte       // the request as it is sent upstream: head, and body if it is whole
	outBuf  *wire.Buffer // where out is, unless it outgrew it
	whole   bool         // out holds the complete request: it can be sent again
	last    bool         // no request follows on the connection
	inbound bool         // the last try was failed by the endpoint's sidecar
	failed  []*table.Endpoint
	up      *wire.Conn
	body    h1.Body // of the response
	headLen int     // of the response, in the buffer of up
	begun   bool    // the client has some of the response
	sender  *sender // while a request body is streamed
}

// Serve answers requests on a client's connection until it ends; it closes conn. Records begin as copies of base.
func (e *Engine) Serve(ctx context.Context, session Session, conn *wire.Conn, decider Decider, base flow.Record) {
	x := &exchange{engine: e, ctx: ctx, session: session, decider: decider, client: conn, base: base}
	x.live.peer, x.live.client, x.live.since = base.Peer, conn, base.Start
	x.req.Limit(e.cfg.Guard.HeadFields, e.cfg.Guard.TargetBytes)
	x.resp.Limit(e.cfg.Guard.HeadFields)
	e.add(&x.live)
	defer e.remove(&x.live)
	defer conn.Close()
	for x.await() && x.serve() {
	}
}

// await waits for the first bytes of a request.
func (x *exchange) await() bool {
	if len(x.client.Buffered()) > 0 {
		return true
	}
	x.session.Idle()
	x.client.Arm(x.engine.cfg.KeepAlive)
	if x.client.Fill() != nil {
		return false
	}
	return x.session.Busy()
}

// serve handles one request, of which some bytes have arrived, and says whether another may follow.
func (x *exchange) serve() (again bool) {
	x.rec = x.base
	x.rec.Start = time.Now()
	x.rec.Protocol = flow.HTTP1
	x.failed, x.last, x.whole, x.inbound = x.failed[:0], false, false, false
	end, err := x.head()
	if end == 0 && err == nil {
		return false // only empty lines, then the end
	}
	if err != nil {
		x.req = h1.Request{} // that of the request before
		x.reject(err)
		return false
	}
	buf, view := x.client.Detach(end)
	defer buf.Release()
	if err := x.req.Parse(view); err != nil {
		x.reject(x.malformed(err))
		return false
	}
	x.client.Arm(x.engine.cfg.StreamIdle)
	x.identify()
	x.last = x.req.Close
	x.live.begin(&x.req, &x.rec)
	x.request()
	if ended := x.live.end(); ended != flow.None {
		x.rec.Reason, x.last = ended, true
	}
	x.finish()
	if x.last {
		x.linger()
	}
	return !x.last
}

// reject answers what is not a request and ends the connection.
func (x *exchange) reject(err error) {
	x.rec.RequestID = newID()
	x.last = true
	x.refuse(err)
	x.finish()
	x.linger()
}

// head waits until the client's buffer begins with a whole head and returns its length.
func (x *exchange) head() (end int, err error) {
	x.client.Arm(x.engine.cfg.Guard.HeadTime)
	from := 0
	for {
		if n := h1.Blank(x.client.Buffered()); n > 0 && from == 0 {
			x.client.Discard(n)
		}
		if len(x.client.Buffered()) > 0 {
			end, from, err = h1.HeadEnd(x.client.Buffered(), from)
			size := end
			if end == 0 {
				size = len(x.client.Buffered())
			}
			if err == nil && size > x.engine.cfg.Guard.HeadBytes {
				err = h1.ErrHeadSize
			}
			if err != nil || end > 0 {
				return end, x.malformed(err)
			}
		}
		if err := x.client.Fill(); err != nil {
			return 0, x.headError(err)
		}
	}
}

func (x *exchange) headError(err error) error {
	switch {
	case errors.Is(err, wire.ErrFull):
		return x.malformed(h1.ErrHeadSize)
	case errors.Is(err, wire.ErrBudget):
		return flow.Fail(flow.Overload, x.engine.cfg.Guard.Exceeded(limit.BufferBytes))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return flow.Fail(flow.TooSlow, x.engine.cfg.Guard.Refuse(limit.HeadTime))
	case errors.Is(err, io.EOF) && len(x.client.Buffered()) == 0:
		return nil
	}
	return flow.Fail(flow.ClientGone, err)
}

// identify settles the request's id.
func (x *exchange) identify() {
	if id := x.req.RequestID(); len(id) > 0 && len(id) <= 128 {
		x.rec.RequestID = string(id)
		return
	}
	x.rec.RequestID = newID()
}

// newID is 128 random bits in hex. It need not be secret.
func newID() string {
	var raw [16]byte
	for i, word := range [2]uint64{rand.Uint64(), rand.Uint64()} {
		for j := range 8 {
			raw[i*8+j] = byte(word >> (8 * j))
		}
	}
	var text [32]byte
	hex.Encode(text[:], raw[:])
	return string(text[:])
}

// refuse answers with the reason of err, if the client can still be answered.
func (x *exchange) refuse(err error) {
	reason := flow.ReasonOf(err, flow.UpstreamReset)
	x.rec.Reason, x.rec.Err = reason, err
	if reason == flow.ClientGone {
		x.last = true
		return
	}
	a := answer{hop: x.engine.cfg.Direction, reason: reason, requestID: x.rec.RequestID, head: string(x.req.Method()) == "HEAD"}
	if x.inbound { // then this is what the other sidecar said
		a.hop = flow.Inbound
	}
	if over, ok := errors.AsType[*limit.Exceeded](err); ok {
		a.over = over.Error()
	}
	if errors.Is(err, h1.ErrTargetSize) {
		a.status = 414
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || reason == flow.TooSlow {
		x.client.SetDeadline(time.Now().Add(lingering)) // the one that has passed is for writing too
	}
	// What is left of the body would be read as the next request.
	if x.req.HasBody() && !x.whole {
		x.last = true
	}
	x.last = x.last || x.session.Draining()
	a.close = x.last
	buf := wire.Get(wire.Small)
	defer buf.Release()
	message := a.append(buf.B[:0])
	x.rec.Status = a.status
	if a.status == 0 {
		x.rec.Status = reason.Info().HTTP
	}
	if _, err := x.client.Write(message); err != nil {
		x.last = true
	}
}

// finish emits the record.
func (x *exchange) finish() {
	x.rec.Duration = time.Since(x.rec.Start)
	x.engine.cfg.Emit(&x.rec)
}

// lingering bounds how long a client may go on sending what nobody wants any more.
const lingering = 5 * time.Second

// linger lets the client read the last answer before the connection goes: closing while its bytes are unread would reset it.
func (x *exchange) linger() {
	if !x.req.HasBody() && len(x.client.Buffered()) == 0 || x.client.CloseWrite() != nil {
		return
	}
	x.client.SetDeadline(time.Now().Add(lingering))
	for {
		if n := len(x.client.Buffered()); n > 0 {
			x.client.Discard(n)
		}
		if x.client.Fill() != nil {
			return
		}
	}
}

// wrap names the endpoint in an error of forwarding.
func (x *exchange) wrap(reason flow.Reason, ep *table.Endpoint, err error) error {
	return flow.Fail(reason, fmt.Errorf("%s: %w", ep.Key, err))
}
