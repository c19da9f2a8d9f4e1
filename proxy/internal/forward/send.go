package forward

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/h1"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// sender streams a request body upstream while the exchange waits for the response: servers may answer early, or hold a
// conversation.
type sender struct {
	client, up *wire.Conn
	pace       pace
	buffers    *wire.Budget
	body       h1.Body
	framing    h1.Framing
	live       *live         // of the exchange
	start      time.Time     // of the exchange
	taken      atomic.Bool   // the client has given all; only the last write may be under way
	ended      chan struct{} // closed at the end; the fields below may be read then
	clientErr  error         // the client broke off, or sent what is no body
	upErr      error         // upstream took no more
}

func startSender(x *exchange) *sender {
	s := &sender{
		client: x.client, up: x.up, pace: x.pace(), buffers: x.engine.cfg.Buffers, framing: x.req.Body,
		live: &x.live, start: x.rec.Start, ended: make(chan struct{}),
	}
	s.body.Reset(x.req.Body, x.req.Length)
	go s.run()
	return s
}

func (s *sender) run() {
	defer s.end()
	s.client.Expect(wire.Large)
	buf := s.buffers.Get(wire.Large)
	defer buf.Release()
	for !s.body.Done() {
		if len(s.client.Buffered()) == 0 {
			if err := s.pace.fill(s.client); err != nil {
				s.clientErr = err
				return
			}
		}
		out, err := s.take(buf.B[:0])
		if err != nil {
			s.clientErr = malformed(s.pace.guard, err)
			return
		}
		if len(out) == 0 { // an incomplete piece of framing
			if err := s.pace.fill(s.client); err != nil {
				s.clientErr = err
				return
			}
			continue
		}
		if s.body.Done() {
			s.taken.Store(true)
		}
		if _, s.upErr = s.up.Write(out); s.upErr != nil {
			return
		}
	}
	s.pace.end(s.client)
	s.client.Expect(0)
	s.live.await(s.client, s.start)
}

// take decodes what is buffered and frames it anew, as much as fits, and one piece at least.
func (s *sender) take(out []byte) ([]byte, error) {
	for !s.body.Done() && (len(out) == 0 || len(out)+wire.Medium < cap(out)) {
		in := s.client.Buffered()
		data, used, err := s.body.Decode(in[:min(len(in), wire.Medium)])
		if err != nil || used == 0 {
			return out, err
		}
		if s.framing == h1.Chunked {
			out = h1.AppendChunk(out, data)
		} else {
			out = append(out, data...)
		}
		s.client.Discard(used)
	}
	if s.body.Done() && s.framing == h1.Chunked {
		out = s.body.AppendEnd(out)
	}
	return out, nil
}

// end tells the exchange, and makes it notice when it waits for upstream in vain. It must find out why, so that comes first;
// upstream is not used again after a body that broke off.
func (s *sender) end() {
	close(s.ended)
	if s.clientErr != nil {
		s.up.Interrupt()
	}
}

// clientError is why the client's side broke, if the sender has ended by that.
func (s *sender) clientError() error {
	select {
	case <-s.ended:
		return s.clientErr
	default:
		return nil
	}
}

// stopSender waits for the end of a streamed body, cutting it short if it has not come. Upstream must take no more then, or
// have been closed.
func (x *exchange) stopSender() {
	s := x.sender
	if s == nil {
		return
	}
	select {
	case <-s.ended:
	default:
		x.client.Interrupt()
		<-s.ended
	}
	x.rec.BytesSent = s.body.Count
	if !s.body.Done() || s.upErr != nil || s.clientErr != nil {
		x.last = true
	}
	x.sender = nil
}

// uploading says whether bytes of the request may still have to come from the client.
func (x *exchange) uploading() bool { return x.sender != nil && !x.sender.taken.Load() }

// senderDone says whether the whole body has been sent.
func (x *exchange) senderDone() bool {
	s := x.sender
	if s == nil {
		return true
	}
	select {
	case <-s.ended:
		return s.body.Done() && s.upErr == nil
	default:
	}
	if !s.taken.Load() {
		return false
	}
	// The response has overtaken the end of the last write, or upstream does not read it.
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-s.ended:
		return s.upErr == nil
	case <-timer.C:
		return false
	}
}

// ended says whether a stream came to its regular end.
func ended(err error) bool { return errors.Is(err, io.EOF) }
