package h2

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/proxy/internal/balance"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// exchange is one request with its tries and its response. The readers of both connections, its timers and the goroutine
// that connects all drive it, one at a time, under mu.
type exchange struct {
	server *Server
	at     *Downstream
	down   *stream
	req    request
	rnd    uint32
	quiet  atomic.Int32 // sweeps since the last frame

	mu        sync.Mutex
	done      bool
	plan      Plan
	rec       flow.Record
	up        *stream // of the current try, once it has one
	choice    balance.Choice
	chosen    bool // choice has to be told its outcome
	failed    []*table.Endpoint
	began     time.Time     // of the current try
	latency   time.Duration // until the response began
	unreached bool          // the endpoint's sidecar could not reach its program
	responded bool          // the client has seen the response's beginning

	reader   *conn  // whose reader holds mu and will send what is queued; nil in other goroutines
	kept     []byte // the body so far, for the next try
	keep     bool   // kept is complete
	handed   int    // bytes of kept that a try has had, so that they have been or will be credited
	bodyDone bool   // the request is complete
	trailers []hpack.HeaderField

	timer, tryTimer *time.Timer
	cancel          context.CancelFunc
}

// side says from where a stream's events come.
func (x *exchange) side(st *stream) (fromClient bool) { return st == x.down }

// data relays body bytes. It runs on the reader of st's connection, as do the other event methods.
func (x *exchange) data(st *stream, data []byte, end bool) {
	x.quiet.Store(0)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.side(st) {
		x.requestData(data, end)
		return
	}
	if x.done || st != x.up {
		st.conn.credit(st, len(data))
		return
	}
	x.rec.BytesReceived += int64(len(data))
	paid := x.down.conn.writeData(x.down, data, end, st)
	st.conn.credit(st, paid)
	st.conn.touch(x.down.conn)
	if end {
		x.complete()
	}
}

func (x *exchange) requestData(data []byte, end bool) {
	if x.done {
		x.down.conn.credit(x.down, len(data))
		return
	}
	x.rec.BytesSent += int64(len(data))
	x.bodyDone = end
	if x.up == nil {
		x.hold(data) // bounded: nothing is credited
		return
	}
	if x.keep {
		if x.mayKeep(len(data)) {
			x.hold(data)
			x.handed = len(x.kept)
		} else {
			x.letGo()
		}
	}
	paid := x.up.conn.writeData(x.up, data, end, x.down)
	x.down.conn.credit(x.down, paid)
	x.down.conn.touch(x.up.conn)
}

// requestTrailers relays the list that ends a request.
func (x *exchange) requestTrailers(fields []hpack.HeaderField) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done {
		return
	}
	x.bodyDone = true
	x.trailers = late(stripOwn(append([]hpack.HeaderField(nil), fields...)))
	if x.up != nil {
		x.up.conn.writeHeaders(x.up, x.trailers, true)
		x.down.conn.touch(x.up.conn)
	}
}

// response relays a response's header list: informational, final or trailers.
func (x *exchange) response(st *stream, fields []hpack.HeaderField, status int, end bool) {
	x.quiet.Store(0)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done || st != x.up {
		return
	}
	st.conn.touch(x.down.conn)
	informational := status >= 100 && status < 200
	if status >= 200 {
		if x.retryResponse(status, fields) {
			return
		}
		x.latency = time.Since(x.began)
		x.responded = true
		x.letGo()
		x.rec.Status = status
		stop(x.tryTimer)
	}
	if x.req.grpc && !informational {
		x.noteGRPCStatus(fields)
	}
	if status == 0 {
		fields = late(fields)
	}
	x.down.conn.writeHeaders(x.down, x.downstreamFields(fields), end)
	if end {
		x.complete()
	}
}

// complete ends an exchange whose response has been handed over in full.
func (x *exchange) complete() {
	// What the endpoint has not taken of the request it does not want any more.
	x.up.conn.cancelUnsent(x.up)
	x.finish(flow.None, nil)
}

// reset handles RST_STREAM of either side.
func (x *exchange) reset(st *stream, code http2.ErrCode) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done {
		return
	}
	if x.side(st) {
		x.abortUp(code)
		x.finish(flow.ClientGone, http2.StreamError{StreamID: st.id, Code: code})
		return
	}
	if st != x.up {
		return
	}
	st.conn.touch(x.down.conn)
	err := http2.StreamError{StreamID: st.id, Code: code}
	x.tryFailed(failure{reason: flow.UpstreamReset, err: err, safe: code == http2.ErrCodeRefusedStream, relay: true, code: code})
}

// broken handles a stream that we have reset because its peer broke the rules.
func (x *exchange) broken(st *stream, err http2.StreamError) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done {
		return
	}
	if x.side(st) {
		x.abortUp(http2.ErrCodeCancel)
		x.finish(flow.BadRequest, whole(err))
		return
	}
	if st == x.up {
		st.conn.touch(x.down.conn)
		x.tryFailed(failure{reason: flow.UpstreamProtocol, err: whole(err)})
	}
}

// whole is a stream error whose cause can be found.
func whole(err http2.StreamError) error {
	if err.Cause == nil {
		return err
	}
	return fmt.Errorf("%w: %w", http2.StreamError{StreamID: err.StreamID, Code: err.Code}, err.Cause)
}

// lost handles the end of a connection. unprocessed says that the endpoint cannot have begun to work on the request.
func (x *exchange) lost(st *stream, err error, unprocessed bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done {
		return
	}
	if x.side(st) {
		x.abortUp(http2.ErrCodeCancel)
		x.finish(lostBy(err), err)
		return
	}
	if st == x.up {
		x.tryFailed(failure{reason: flow.UpstreamReset, err: err, safe: unprocessed})
		x.down.conn.kick()
	}
}

// expire is the deadline's timer.
func (x *exchange) expire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.done {
		x.fail(flow.Timeout, nil)
		x.down.conn.kick()
	}
}

// deny ends a stream that is no longer allowed.
func (x *exchange) deny() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done || x.at.Permit == nil || x.at.Permit(&x.req) {
		return
	}
	x.fail(flow.Denied, nil)
	x.down.conn.kick()
}

// look is the exchange as somebody who looks in sees it; false: it is over.
func (x *exchange) look() (v flow.Live, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := &x.rec
	v = flow.Live{
		Direction: r.Direction, Protocol: r.Protocol, Stage: flow.Connecting, Since: r.Start, Client: x.down.conn.nc.RemoteAddr().String(),
		Service: r.Service, Request: string(x.req.Method()) + " " + string(x.req.Authority()), Sent: r.BytesSent, Received: r.BytesReceived,
	}
	if !r.Peer.IsZero() {
		v.Peer = r.Peer.String()
	}
	if r.Endpoint != nil {
		v.Endpoint = r.Endpoint.Key
	}
	switch {
	case x.responded:
		v.Stage = flow.Answering
	case x.up != nil:
		v.Stage = flow.Waiting
	}
	return v, !x.done
}

// cut ends a stream because the process ends.
func (x *exchange) cut() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.done {
		x.fail(flow.Draining, errClosed)
		x.down.conn.kick()
	}
}

// fail ends the exchange by a failure of the proxy's own. Under mu.
func (x *exchange) fail(reason flow.Reason, err error) {
	x.abortUp(http2.ErrCodeCancel)
	if !x.answerFailure(reason, err) {
		x.down.conn.abort(x.down, http2.ErrCodeInternal)
	}
	x.finish(reason, err)
}

// abortUp takes the request back from the endpoint. Under mu.
func (x *exchange) abortUp(code http2.ErrCode) {
	if x.up != nil {
		x.up.conn.abort(x.up, code)
		x.up.conn.kick()
	}
}

// finish emits the record, once. Under mu.
func (x *exchange) finish(reason flow.Reason, err error) {
	x.done = true
	stop(x.timer)
	stop(x.tryTimer)
	if x.cancel != nil {
		x.cancel()
	}
	x.endTry(reason)
	x.letGo()
	x.failed = nil
	r := &x.rec
	r.Reason, r.Err = reason, err
	r.Duration = time.Since(r.Start)
	if x.server.cfg.Emit != nil {
		x.server.cfg.Emit(r)
	}
}

// endTry tells the balancer what became of the current try. Under mu.
func (x *exchange) endTry(reason flow.Reason) {
	if !x.chosen {
		return
	}
	x.chosen = false
	o := balance.Outcome{Latency: x.latency}
	if o.Latency == 0 {
		o.Latency = time.Since(x.began)
	}
	switch reason {
	case flow.None:
		o.ConnectFailed = x.unreached
		o.Failed = x.unreached || x.rec.Status >= 500 || x.req.grpc && badStatus(x.rec.GRPCStatus)
	case flow.Connect, flow.TLS:
		o.Failed, o.ConnectFailed = true, true
	case flow.UpstreamReset, flow.UpstreamProtocol, flow.Timeout:
		o.Failed = true
	default:
		o.Abandoned = true
	}
	x.choice.Done(o)
}

func stop(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}
