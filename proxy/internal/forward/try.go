package forward

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/h1"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

const (
	// safeTries is how often a request is tried when every try was provably without effect.
	safeTries = 4
	// maxWhole is the largest body that is waited for, so that it goes out in one write and can be sent again.
	maxWhole = 16 << 10
	// maxInformational is how many 1xx responses one request may have.
	maxInformational = 10
)

// request walks one parsed request to its end.
func (x *exchange) request() {
	if x.req.Connect {
		x.refuse(flow.Fail(flow.Tunnel, errConnect))
		return
	}
	if err := x.decider.Admit(x.ctx, &x.req, &x.rec); err != nil {
		x.refuse(err)
		return
	}
	if err := x.gather(); err != nil {
		x.refuse(err)
		return
	}
	if f := x.tries(); f != nil {
		x.refuse(f)
	}
	x.stopSender()
	x.outBuf.Release()
	x.outBuf, x.out = nil, nil
}

// gather waits for the whole of a small body, unless the client waits for us.
func (x *exchange) gather() error {
	x.whole = !x.req.HasBody()
	if x.whole || x.req.Body != h1.Sized || x.req.Length > maxWhole || x.req.Continue {
		return nil
	}
	x.client.Expect(int(x.req.Length))
	defer x.client.Expect(0)
	p := x.pace()
	for len(x.client.Buffered()) < int(x.req.Length) {
		if err := p.fill(x.client); err != nil {
			return err
		}
	}
	p.end(x.client)
	x.whole = true
	return nil
}

// compose writes the request for upstream, once for all tries.
func (x *exchange) compose(target Target) {
	if x.outBuf != nil {
		return
	}
	x.outBuf = wire.Get(wire.Small)
	edit := h1.RequestEdit{RequestID: x.rec.RequestID, Source: target.Source}
	if len(x.req.Authority()) == 0 {
		edit.Host = host(target.Endpoint.Service)
	}
	x.out = h1.AppendRequest(x.outBuf.B[:0], &x.req, edit)
	if n := int(x.req.Length); x.whole && x.req.HasBody() {
		x.out = append(x.out, x.client.Buffered()[:n]...)
		x.client.Discard(n)
		x.rec.BytesSent = int64(n)
	}
}

// host names a service ("namespace/name") where a client of HTTP/1.0 named none.
func host(service string) string {
	namespace, name, ok := strings.Cut(service, "/")
	if !ok {
		return service
	}
	return name + "." + namespace
}

// tries sends the request until it is answered; the error is what to tell the client.
func (x *exchange) tries() error {
	fresh := len(x.req.Upgrade) > 0
	var last *failure
	for {
		target, err := x.decider.Target(x.ctx, &x.req, x.failed, &x.rec)
		if err != nil {
			if last != nil { // what happened tells more than that nothing is left
				return last.err
			}
			return err
		}
		if last != nil && last.elsewhere && slices.Contains(x.failed, target.Endpoint) {
			x.decider.Settle(Outcome{Abandoned: true})
			return last.err
		}
		x.compose(target)
		x.rec.Tries++
		x.rec.Endpoint = target.Endpoint
		if last = x.try(target, fresh); last == nil {
			return nil
		}
		x.inbound = last.inbound
		if last.elsewhere {
			x.failed = append(x.failed, target.Endpoint)
		}
		if !x.mayRetry(last, target) {
			return last.err
		}
		// Where one connection broke, the others that are idle may be broken too.
		fresh = len(x.req.Upgrade) > 0 || !last.elsewhere
	}
}

// try makes one attempt. A nil failure means that the client has its response, or cannot get one any more.
func (x *exchange) try(target Target, fresh bool) *failure {
	up, f := x.connect(target, fresh)
	if f != nil {
		return f
	}
	// A handshake is paid once for many requests: counted in, it would keep later ones away from an endpoint as good as any.
	begin := time.Now()
	x.up = up
	x.live.use(up, x.rec.Endpoint)
	up.Arm(x.engine.cfg.StreamIdle)
	timed := x.deadline(target, true)
	if !timed.IsZero() {
		up.SetDeadline(timed)
	}
	f = x.send()
	if f == nil {
		f = x.receive(target)
	}
	latency := time.Since(begin)
	if f == nil {
		f = x.unseen(target)
	}
	if f != nil && x.live.left.Load() {
		f = &failure{err: flow.Fail(flow.ClientGone, errLeft)}
	}
	if f != nil && f.inbound {
		x.drop()
		fault := flow.ReasonOf(f.err, flow.None) == flow.Connect
		x.decider.Settle(Outcome{Latency: latency, Failed: fault, ConnectFailed: fault, Abandoned: !fault})
		return f
	}
	if f == nil && x.retryStatus(target) {
		f = &failure{err: x.wrap(flow.UpstreamReset, target.Endpoint, errStatus), again: true, budgeted: true, granted: true}
		x.failed = append(x.failed, target.Endpoint)
	}
	if f != nil {
		x.drop()
		x.decider.Settle(Outcome{Latency: latency, Failed: true, Abandoned: flow.ReasonOf(f.err, flow.None) == flow.ClientGone})
		return f
	}
	complete := x.respond(target)
	failed := x.resp.Status >= 500 || x.rec.Reason == flow.UpstreamReset || x.rec.Reason == flow.UpstreamProtocol || x.rec.Reason == flow.Timeout
	x.decider.Settle(Outcome{Latency: latency, Failed: failed})
	x.release(complete, !timed.IsZero())
	return nil
}

func (x *exchange) connect(target Target, fresh bool) (*wire.Conn, *failure) {
	ctx, end := x.ctx, x.deadline(target, true)
	if !end.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end)
		defer cancel()
	}
	var up *wire.Conn
	var err error
	if fresh {
		up, err = x.engine.cfg.Upstream.Dial(ctx, target.Endpoint)
	} else {
		up, err = x.engine.cfg.Upstream.Get(ctx, target.Endpoint, !x.repeatable())
	}
	if err == nil {
		if up.Fresh && target.Mesh {
			x.rec.Handshakes++
		}
		return up, nil
	}
	reason := flow.ReasonOf(err, flow.Connect)
	fault := reason == flow.Connect || reason == flow.TLS
	x.decider.Settle(Outcome{Failed: fault, ConnectFailed: fault, Abandoned: !fault})
	if _, ok := errors.AsType[*flow.Failure](err); !ok {
		err = flow.Fail(reason, err)
	}
	return nil, &failure{err: err, again: fault, elsewhere: fault}
}

// send writes the request, and starts streaming its body if that is not part of out.
func (x *exchange) send() *failure {
	exchange := x.up.Write
	if x.whole {
		exchange = x.up.Turn
		x.live.await(x.client, x.rec.Start)
	}
	if n, err := exchange(x.out); err != nil {
		return x.broken(err, n == 0)
	}
	if !x.whole {
		x.sender = startSender(x)
	}
	return nil
}

// receive waits for the head of the final response and parses it; it stays in the buffer of up.
func (x *exchange) receive(target Target) *failure {
	for range maxInformational + 1 {
		end, f := x.responseHead()
		if f != nil {
			return f
		}
		if err := x.resp.Parse(x.up.Buffered()[:end], x.req.Method()); err != nil {
			return x.invalid(err)
		}
		if !x.resp.Informational() {
			x.headLen = end
			return nil
		}
		if x.req.Minor() == 1 {
			edit := h1.ResponseEdit{Mesh: target.Mesh}
			if err := x.write(h1.AppendResponse(nil, &x.resp, edit)); err != nil {
				return &failure{err: err}
			}
		}
		x.up.Discard(end)
	}
	return x.invalid(x.engine.cfg.Guard.Refuse(limit.Informational))
}

func (x *exchange) responseHead() (end int, f *failure) {
	from := 0
	for {
		if len(x.up.Buffered()) > 0 {
			var err error
			if end, from, err = h1.HeadEnd(x.up.Buffered(), from); err != nil {
				return 0, x.invalid(err)
			}
			if len(x.up.Buffered()) > x.engine.cfg.Guard.HeadBytes && end == 0 || end > x.engine.cfg.Guard.HeadBytes {
				return 0, x.invalid(h1.ErrHeadSize)
			}
			if end > 0 {
				return end, nil
			}
		}
		err := x.up.Fill()
		switch {
		case err == nil:
		case errors.Is(err, wire.ErrFull):
			return 0, x.invalid(h1.ErrHeadSize)
		case errors.Is(err, wire.ErrBudget):
			return 0, &failure{err: x.wrap(flow.Overload, x.rec.Endpoint, x.engine.cfg.Guard.Exceeded(limit.BufferBytes))}
		case len(x.up.Buffered()) > 0 && !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, &failure{err: x.wrap(flow.UpstreamReset, x.rec.Endpoint, io.ErrUnexpectedEOF), elsewhere: true}
		default:
			return 0, x.broken(err, false)
		}
	}
}

func (x *exchange) invalid(err error) *failure {
	return &failure{err: x.wrap(flow.UpstreamProtocol, x.rec.Endpoint, bounded(x.engine.cfg.Guard, err)), elsewhere: true}
}

// drop closes the upstream connection of a try that failed.
func (x *exchange) drop() {
	x.live.use(nil, nil)
	x.up.Abort()
	x.stopSender()
	x.up.Close()
	x.up = nil
}

// release ends a try that was answered: the connection is kept only if both sides are done with the exchange.
func (x *exchange) release(complete, timed bool) {
	x.live.use(nil, nil)
	if !x.senderDone() {
		complete, x.last = false, true
	}
	if !complete || x.resp.Close || len(x.req.Upgrade) > 0 || x.live.left.Load() {
		x.drop()
		return
	}
	x.stopSender()
	if timed {
		x.up.SetDeadline(time.Time{})
	}
	x.engine.cfg.Upstream.Put(x.up)
	x.up = nil
}
