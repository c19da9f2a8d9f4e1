package h2

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/proxy/internal/balance"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// safeTries is how many tries beyond the first are made where that is provably harmless, whatever the route says.
const safeTries = 2

// errVanished says that what a request has waited for came and went.
var errVanished = errors.New("the configuration went away again")

// failure is why one try failed.
type failure struct {
	reason flow.Reason
	err    error
	// safe: the endpoint cannot have worked on the request.
	safe bool
	// policy: only what the route adds allows another try.
	policy bool
	// relay passes the endpoint's own reset on when there is no other try.
	relay bool
	code  http2.ErrCode
}

// begin starts the walk for a request whose head is known. Under mu.
func (x *exchange) begin(plan Plan) {
	x.plan = plan
	x.startTimer()
	if plan.Wait != nil {
		go x.wait(x.context(), plan.Wait)
		return
	}
	if plan.Reason != flow.None {
		x.fail(plan.Reason, plan.Err)
		return
	}
	if x.server.cfg.Request != nil {
		x.server.cfg.Request()
	}
	x.try()
}

// wait asks again when the plan's wait is over.
func (x *exchange) wait(ctx context.Context, wait func(context.Context) (flow.Reason, error)) {
	reason, err := wait(ctx)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done {
		return
	}
	plan := Plan{Reason: reason, Err: err}
	if reason == flow.None {
		if plan = x.at.Decide(&x.req, x.rnd, &x.rec); plan.Wait != nil {
			plan = Plan{Reason: flow.NotReady, Err: errVanished}
		}
	}
	x.begin(plan)
	x.kick()
}

// startTimer runs the shorter of the client's and the route's deadlines. Under mu.
func (x *exchange) startTimer() {
	limit, ok := x.plan.Timeout, x.plan.Timeout > 0
	if x.req.deadline && (!ok || x.req.timeout < limit) {
		limit, ok = x.req.timeout, true
	}
	if !ok {
		return
	}
	left := max(limit-time.Since(x.rec.Start), 0)
	if x.timer == nil {
		x.timer = time.AfterFunc(left, x.expire)
	} else {
		x.timer.Reset(left)
	}
}

// context is cancelled when the exchange ends. Under mu.
func (x *exchange) context() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	if previous := x.cancel; previous != nil {
		x.cancel = func() { previous(); cancel() }
	} else {
		x.cancel = cancel
	}
	return ctx
}

// try sends the request to an endpoint: at once when a connection has room, else in a goroutine that waits for one. Under mu.
func (x *exchange) try() {
	x.up = nil
	if x.plan.Endpoint != nil {
		x.choice = balance.Choice{Endpoint: x.plan.Endpoint}
	} else {
		if x.plan.Set == nil {
			x.fail(flow.NoBackend, nil)
			return
		}
		choice, ok := x.server.cfg.Pick(x.plan.Set, x.plan.Balancing, x.plan.Port, x.failed)
		if !ok {
			x.fail(flow.NoEndpoint, nil)
			return
		}
		x.choice = choice
	}
	x.chosen, x.latency, x.began = true, 0, time.Now()
	x.rec.Endpoint = x.choice.Endpoint
	if x.server.cfg.Direction == flow.Outbound {
		x.rec.MTLS = x.meshed()
	}
	x.rec.Tries++
	if u := x.server.pool.take(x.choice.Endpoint); u != nil && x.attach(u) {
		return
	}
	go x.connect(x.context(), x.rec.Tries)
}

// connect waits for a connection to the try's endpoint.
func (x *exchange) connect(ctx context.Context, try int) {
	u, dialled, err := x.server.pool.wait(ctx, x.choice.Endpoint)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done || x.rec.Tries != try {
		if u != nil {
			u.release()
		}
		return
	}
	if dialled && x.meshed() {
		x.rec.Handshakes++
	}
	switch {
	case err != nil:
		x.tryFailed(failure{reason: flow.ReasonOf(err, flow.Connect), err: err, safe: true})
	case !x.attach(u):
		x.tryFailed(failure{reason: flow.UpstreamReset, err: errClosed, safe: true})
	}
	x.kick()
}

// attach puts the request, as far as it has come, on a connection. Under mu.
func (x *exchange) attach(u *conn) bool {
	var left time.Duration
	if x.req.deadline && time.Since(x.rec.Start) > 5*time.Millisecond {
		left = max(x.req.timeout-time.Since(x.rec.Start), time.Millisecond)
	}
	bare := len(x.kept) == 0 && x.trailers == nil
	st, ok := u.open(x, x.upstreamFields(left), x.bodyDone && bare, x.handed)
	if !ok {
		return false
	}
	x.up = st
	if len(x.kept) > 0 {
		paid := u.writeData(st, x.kept, x.bodyDone && x.trailers == nil, x.down)
		x.down.conn.credit(x.down, paid)
	}
	x.handed = len(x.kept)
	if x.trailers != nil {
		u.writeHeaders(st, x.trailers, true)
	}
	if !x.mayKeep(0) {
		x.letGo()
	}
	if per := x.plan.Retry.PerTry; per > 0 {
		stop(x.tryTimer)
		x.tryTimer = time.AfterFunc(per, func() { x.expireTry(st) })
	}
	if x.reader != nil {
		x.reader.touch(u)
	} else {
		u.kick()
	}
	return true
}

// expireTry is the timer of one try.
func (x *exchange) expireTry(st *stream) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done || x.up != st || x.responded {
		return
	}
	x.abortUp(http2.ErrCodeCancel)
	x.tryFailed(failure{reason: flow.Timeout, policy: true})
	x.kick()
}

// tryFailed makes another try or fails the request. Under mu.
func (x *exchange) tryFailed(f failure) {
	x.up = nil
	x.endTry(f.reason)
	switch {
	case x.mayRetry(f):
		x.try()
	case f.relay && !(x.responded && x.req.grpc):
		x.down.conn.abort(x.down, f.code)
		x.finish(f.reason, f.err)
	default:
		x.fail(f.reason, f.err)
	}
}

// mayRetry says whether the request may be sent again, and pays for it. The plan is then the newest.
func (x *exchange) mayRetry(f failure) bool {
	if x.responded || !x.keep || x.server.cfg.Retry == nil {
		return false
	}
	switch tries := x.rec.Tries - 1; {
	case f.policy:
		if tries >= x.plan.Retry.Attempts || !x.req.Idempotent() {
			return false
		}
	case f.safe || f.reason == flow.UpstreamReset && x.req.Idempotent():
		if tries >= max(safeTries, x.plan.Retry.Attempts) {
			return false
		}
	default:
		return false
	}
	plan := x.at.Decide(&x.req, x.rnd, &x.rec)
	if plan.Wait != nil || plan.Reason != flow.None {
		return false // what went wrong first says more
	}
	failed := append(x.failed, x.choice.Endpoint)
	if f.safe && (f.reason == flow.Connect || f.reason == flow.TLS) && !plan.other(failed) {
		return false // the same endpoint will not do better at once
	}
	if !x.server.cfg.Retry() {
		return false
	}
	x.plan, x.failed = plan, failed
	return true
}

// other says whether the plan has an endpoint that has not failed.
func (p *Plan) other(failed []*table.Endpoint) bool {
	if p.Endpoint != nil || p.Set == nil {
		return false
	}
	return slices.ContainsFunc(p.Set.Endpoints, func(ep *table.Endpoint) bool {
		return (ep.ServicePort == 0 || ep.ServicePort == p.Port) &&
			!slices.ContainsFunc(failed, func(f *table.Endpoint) bool { return f.Key == ep.Key })
	})
}

// retryResponse makes another try instead of relaying a response: one whose status the route wants to be retried, or one by
// which the endpoint's sidecar says that its program has not seen the request. Under mu.
func (x *exchange) retryResponse(status int, fields []hpack.HeaderField) bool {
	f := failure{reason: x.unseen(fields), safe: true}
	x.unreached = f.reason != flow.None
	if !x.unreached {
		if !slices.Contains(x.plan.Retry.Statuses, status) {
			return false
		}
		f = failure{reason: flow.UpstreamReset, policy: true}
	}
	if !x.mayRetry(f) {
		return false
	}
	x.abortUp(http2.ErrCodeCancel)
	x.up = nil
	x.endTry(f.reason)
	x.unreached = false
	x.try()
	return true
}

// unseen is the reason by which the endpoint's sidecar vouches that its program has not seen the request.
func (x *exchange) unseen(fields []hpack.HeaderField) flow.Reason {
	if x.server.cfg.Direction != flow.Outbound || !x.meshed() {
		return flow.None
	}
	for i := range fields {
		if fields[i].Name != "weft-error" {
			continue
		}
		hop, reason, _ := flow.ParseErrorHeader(fields[i].Value)
		if hop == flow.Inbound && (reason == flow.Connect || reason == flow.Draining || reason == flow.NotReady) {
			return reason
		}
	}
	return flow.None
}

// kick sends what a goroutine other than a reader has queued. Under mu.
func (x *exchange) kick() {
	x.down.conn.kick()
	if x.up != nil {
		x.up.conn.kick()
	}
}

// noteGRPCStatus keeps the status that a list carries.
func (x *exchange) noteGRPCStatus(fields []hpack.HeaderField) {
	for i := range fields {
		if fields[i].Name == "grpc-status" {
			if n, err := strconv.Atoi(fields[i].Value); err == nil {
				x.rec.GRPCStatus = n
			}
			return
		}
	}
}

// badStatus says whether a gRPC status is one that speaks against the endpoint.
func badStatus(code int) bool {
	switch code {
	case 2, 4, 13, 14, 15: // Unknown, DeadlineExceeded, Internal, Unavailable, DataLoss
		return true
	}
	return false
}

// bodiless says whether a response has no body whatever its content-length says.
func bodiless(method string, status int) bool {
	return method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
}
