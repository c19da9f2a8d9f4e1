package forward

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/h1"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// malformed is the failure that an error of the parser's in a client's message is.
func (x *exchange) malformed(err error) error { return malformed(x.engine.cfg.Guard, err) }

func malformed(guard *limit.Guard, err error) error {
	if err == nil {
		return nil
	}
	err = bounded(guard, err)
	for _, large := range []error{h1.ErrHeadSize, h1.ErrFields, h1.ErrTargetSize, h1.ErrTrailers} {
		if errors.Is(err, large) {
			return flow.Fail(flow.TooLarge, err)
		}
	}
	return flow.Fail(flow.BadRequest, err)
}

// bounded counts and names the limit that an error of the parser's is about, if it is about one.
func bounded(guard *limit.Guard, err error) error {
	for _, about := range []struct {
		err  error
		name limit.Name
	}{
		{h1.ErrHeadSize, limit.HeadBytes},
		{h1.ErrFields, limit.HeadFields},
		{h1.ErrTargetSize, limit.TargetBytes},
		{h1.ErrChunkLine, limit.ChunkLine},
		{h1.ErrTrailers, limit.Trailers},
	} {
		if errors.Is(err, about.err) {
			return fmt.Errorf("%w: %w", err, guard.Refuse(about.name))
		}
	}
	return err
}

// write sends bytes of the response to the client, which can get no other answer from then on, and has a limited time to take them.
// Its reads have longer.
func (x *exchange) write(p []byte) error {
	x.begun = true
	x.client.Arm(x.engine.cfg.Guard.WriteStall)
	_, err := x.client.Write(p)
	if err == nil {
		x.client.Arm(x.engine.cfg.StreamIdle)
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && !x.client.Disarm() {
		return flow.Fail(flow.TooSlow, fmt.Errorf("%w: %w", err, x.engine.cfg.Guard.Refuse(limit.WriteStall)))
	}
	return flow.Fail(flow.ClientGone, err)
}

// pace is how fast a client sends a body of which it has told the length. Only time spent waiting for the client counts. A body
// without a length may be one half of a conversation: it may pause.
type pace struct {
	guard  *limit.Guard
	idle   time.Duration // for bodies that may pause
	sized  bool
	asked  bool // the client waits to be told to go on
	waited time.Duration
	got    int
}

func (x *exchange) pace() pace {
	return pace{guard: x.engine.cfg.Guard, idle: x.engine.cfg.StreamIdle, sized: x.req.Body == h1.Sized, asked: x.req.Continue}
}

// fill waits for more of the body. Its errors are failures.
func (p *pace) fill(client *wire.Conn) error {
	judged := p.sized && !(p.asked && p.got == 0)
	if judged {
		client.Arm(limit.RateWindow)
	}
	before, begin := len(client.Buffered()), time.Now()
	err := client.Fill()
	if err != nil {
		return p.failed(client, err)
	}
	p.got += len(client.Buffered()) - before
	if !judged {
		return nil
	}
	p.waited += time.Since(begin)
	if p.got >= p.guard.BodyRate*int(limit.RateWindow/time.Second) {
		p.got, p.waited = 1, 0
	} else if p.waited >= limit.RateWindow {
		return flow.Fail(flow.TooSlow, p.guard.Refuse(limit.BodyRate))
	}
	return nil
}

func (p *pace) failed(client *wire.Conn, err error) error {
	switch {
	case errors.Is(err, wire.ErrBudget):
		return flow.Fail(flow.Overload, p.guard.Exceeded(limit.BufferBytes))
	case p.sized && errors.Is(err, os.ErrDeadlineExceeded) && !client.Disarm(): // not an interruption of our own
		return flow.Fail(flow.TooSlow, p.guard.Refuse(limit.BodyRate))
	}
	return flow.Fail(flow.ClientGone, err)
}

// end gives the client's connection the time that it has outside of bodies.
func (p *pace) end(client *wire.Conn) {
	if p.sized {
		client.Arm(p.idle)
	}
}
