package forward

import (
	"errors"
	"net"
	"os"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/h1"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// respond relays the response whose head has been parsed. It says whether it was relayed to its end.
func (x *exchange) respond(target Target) (complete bool) {
	if x.resp.Status == 101 {
		return x.switched(target)
	}
	framing := x.resp.Body
	switch {
	case framing == h1.UntilClose && x.req.Minor() == 1:
		framing = h1.Chunked
	case framing == h1.Chunked && x.req.Minor() == 0:
		framing = h1.UntilClose
	}
	x.last = x.last || x.session.Draining() || framing == h1.UntilClose || x.uploading() && (x.req.Continue || x.resp.Close)
	buf := x.engine.cfg.Buffers.Get(outSize(&x.resp))
	defer buf.Release()
	out := h1.AppendResponse(buf.B[:0], &x.resp, h1.ResponseEdit{
		Body: framing, Close: x.last, KeepAlive: x.req.Minor() == 0 && !x.last, Mesh: target.Mesh,
	})
	x.up.Discard(x.headLen)
	x.rec.Status = x.resp.Status
	x.body.Reset(x.resp.Body, x.resp.Length)
	x.begun = false
	err := x.relayBody(out, framing)
	x.rec.BytesReceived = x.body.Count
	switch {
	case err == nil:
		return true
	case x.begun:
		x.abort(err)
	default:
		x.refuse(err)
	}
	return false
}

// outSize is how large a buffer the response deserves.
func outSize(r *h1.Response) int {
	switch {
	case r.Body == h1.NoBody:
		return wire.Small
	case r.Body == h1.Sized && r.Length <= wire.Small/2:
		return wire.Small
	}
	return wire.Out
}

// expected is how large a buffer the next response of a connection deserves, whose last one was so large.
func expected(last int64) int {
	if last <= wire.Small {
		return wire.Small
	}
	return wire.Out
}

// relayBody sends the head, which is in out, and the body, each byte as soon as it has come.
func (x *exchange) relayBody(out []byte, framing h1.Framing) (err error) {
	x.up.Expect(wire.Large)
	defer func() { x.up.Expect(expected(int64(x.headLen) + x.body.Count)) }()
	for {
		if out, err = x.takeBody(out, framing); err != nil {
			return err
		}
		for !x.body.Done() && x.up.More() {
			if out, err = x.takeBody(out, framing); err != nil {
				return err
			}
		}
		if x.body.Done() && framing == h1.Chunked {
			out = x.body.AppendEnd(out)
		}
		if len(out) > 0 {
			if err := x.write(out); err != nil {
				return err
			}
			out = out[:0]
		}
		if x.body.Done() {
			return nil
		}
		x.up.Arm(x.engine.cfg.StreamIdle)
		if err := x.up.Fill(); err != nil {
			if err = x.bodyEnd(err); err != nil {
				return err
			}
		}
	}
}

// takeBody moves what has arrived of the body behind out, sending out whenever it is full. What needs no framing and is
// larger than the room goes to the client without being copied.
func (x *exchange) takeBody(out []byte, framing h1.Framing) ([]byte, error) {
	for !x.body.Done() {
		in := x.up.Buffered()
		if framing == h1.Chunked {
			in = in[:min(len(in), wire.Medium)]
		}
		data, used, err := x.body.Decode(in)
		if err != nil {
			return out, x.wrap(flow.UpstreamProtocol, x.rec.Endpoint, bounded(x.engine.cfg.Guard, err))
		}
		if used == 0 {
			return out, nil
		}
		if len(out)+len(data)+64 > cap(out) {
			if err := x.write(out); err != nil {
				return out, err
			}
			out = out[:0]
		}
		switch {
		case framing == h1.Chunked:
			out = h1.AppendChunk(out, data)
		case len(data) > cap(out)/2 && len(out) == 0:
			if err := x.write(data); err != nil {
				return out, err
			}
		default:
			out = append(out, data...)
		}
		x.up.Discard(used)
	}
	return out, nil
}

// bodyEnd judges the end of the upstream connection within a body.
func (x *exchange) bodyEnd(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		if x.sender != nil {
			if cause := x.sender.clientError(); cause != nil {
				return cause
			}
		}
		return x.wrap(flow.Timeout, x.rec.Endpoint, err)
	case errors.Is(err, wire.ErrBudget):
		return x.wrap(flow.Overload, x.rec.Endpoint, x.engine.cfg.Guard.Exceeded(limit.BufferBytes))
	case ended(err):
		if err = x.body.End(); err == nil {
			return nil
		}
	}
	return x.wrap(flow.UpstreamReset, x.rec.Endpoint, err)
}

// abort ends the client's connection so that it cannot take the response for a complete one.
func (x *exchange) abort(err error) {
	if x.live.left.Load() {
		err = flow.Fail(flow.ClientGone, errLeft)
	}
	x.rec.Reason, x.rec.Err = flow.ReasonOf(err, flow.UpstreamReset), err
	x.last = true
	nc := x.client.NetConn()
	if under, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = under.NetConn()
	}
	if tcp, ok := nc.(*net.TCPConn); ok {
		tcp.SetLinger(0) // a reset, not a regular end; fails only on a closed connection
	}
	x.client.Abort()
}
