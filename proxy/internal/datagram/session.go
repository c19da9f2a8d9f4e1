package datagram

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// Client is whose session it is.
type Client struct {
	// From and To are the client and its original destination; zero for a session of the mesh port.
	From, To netip.AddrPort
	// Peer is the client's verified identity; zero where it has none.
	Peer spiffeid.ID
}

// Session is what one client sends to one destination, and what comes back.
type Session struct {
	Client

	owner   *Sessions
	queue   *queue
	reverse bool // the peer is the client's sidecar: what is pushed comes from the server
	cancel  context.CancelFunc
	begun   time.Time

	seen    atomic.Int64 // when a datagram passed last, nanoseconds since 1970 by the owner's clock
	sending atomic.Int64 // since when a Send lasts; 0: none does
	retired atomic.Int64 // since when the client's next datagram begins another session; 0: it does not
	over    atomic.Bool

	pushed, delivered, lost count
	progress                flow.Progress

	mu       sync.Mutex
	peer     Peer
	service  string
	endpoint string // where the peer is
	mesh     bool   // the peer is another sidecar
	reason   flow.Reason
	err      error
	abort    *time.Timer
}

// count is of datagrams.
type count struct{ datagrams, bytes atomic.Int64 }

func (c *count) add(datagrams, bytes int64) {
	c.datagrams.Add(datagrams)
	c.bytes.Add(bytes)
}

// Push takes one datagram for the peer; it never waits. A datagram that finds no room is dropped and counted. It reports false
// when the session is over.
func (s *Session) Push(payload []byte) bool {
	switch {
	case s.over.Load():
		return false
	case len(payload) > MaxPayload:
		s.drop(&s.owner.Dropped.Oversize, 1)
	case !s.queue.push(payload):
		if s.over.Load() {
			return false
		}
		s.drop(&s.owner.Dropped.Backpressure, 1)
	default:
		s.seen.Store(s.owner.now.Load())
	}
	return true
}

func (s *Session) drop(cause *atomic.Uint64, n int64) {
	cause.Add(uint64(n))
	s.lost.datagrams.Add(n)
}

// Relay moves datagrams between the session and its peer until the session ends, and emits rec, which the caller has begun.
// deliver gets what the peer sends. The reason of the end is returned.
func (s *Session) Relay(peer Peer, deliver func(payload []byte) error, rec *flow.Record) flow.Reason {
	attached := s.attach(peer, rec)
	s.judge(s.owner.rule.Load())
	if !attached {
		peer.Abort()
		return s.finish(rec)
	}
	var sending sync.WaitGroup
	sending.Go(func() { s.send(peer) })
	err := peer.Receive(func(payload []byte) { s.deliver(payload, deliver) })
	s.end(flow.ReasonOf(err, s.broken(err)), err)
	sending.Wait()
	peer.Abort()
	s.detach()
	return s.finish(rec)
}

// attach makes the peer visible to whoever ends the session; false: that has happened already.
func (s *Session) attach(peer Peer, rec *flow.Record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over.Load() {
		return false
	}
	s.peer, s.mesh, s.service = peer, rec.MTLS, rec.Service
	if rec.Endpoint != nil {
		s.endpoint = rec.Endpoint.Key
	}
	if s.owner.cfg.Open != nil {
		s.progress = s.owner.cfg.Open(rec)
		rec.Opened = true
	}
	s.seen.Store(s.owner.now.Load())
	return true
}

func (s *Session) detach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.abort != nil {
		s.abort.Stop()
	}
}

// send is the one goroutine that sends to the peer.
func (s *Session) send(peer Peer) {
	for {
		c, ok := s.queue.take()
		if !ok {
			break
		}
		s.sending.Store(s.owner.now.Load())
		lost, err := peer.Send(c.frames())
		s.sending.Store(0)
		if err == nil {
			s.drop(&s.owner.Dropped.Unsent, int64(lost))
			s.pushed.add(int64(c.datagrams-lost), c.payload())
			s.tell(s.reverse, c.payload())
		}
		s.queue.release(c)
		if err != nil {
			s.lost.datagrams.Add(int64(c.datagrams))
			s.unsent(peer, err)
			return
		}
	}
	peer.Goodbye(s.why())
}

// unsent ends the session because nothing can be sent any more. An error that is not our own may only mean that the other side
// has ended it: its last word, which says more, may still be on the way.
func (s *Session) unsent(peer Peer, err error) {
	if reason := flow.ReasonOf(err, flow.None); reason != flow.None {
		s.end(reason, err)
		peer.Goodbye(reason)
		return
	}
	time.AfterFunc(goodbyeLimit, func() { s.end(s.broken(err), err) })
}

// broken is the reason of an error that has none.
func (s *Session) broken(err error) flow.Reason {
	switch {
	case err == nil:
		return flow.None
	case s.reverse:
		return flow.ClientGone
	}
	return flow.UpstreamReset
}

// deliver passes one datagram of the peer on.
func (s *Session) deliver(payload []byte, deliver func([]byte) error) {
	if s.over.Load() {
		return
	}
	s.seen.Store(s.owner.now.Load())
	if err := deliver(payload); err != nil {
		s.drop(&s.owner.Dropped.Unsent, 1)
		if reason := flow.ReasonOf(err, flow.None); reason != flow.None {
			s.end(reason, err)
		}
		return
	}
	s.delivered.add(1, int64(len(payload)))
	s.tell(!s.reverse, int64(len(payload)))
}

// tell counts bytes as they flow.
func (s *Session) tell(received bool, n int64) {
	switch {
	case s.progress == nil:
	case received:
		s.progress(0, n)
	default:
		s.progress(n, 0)
	}
}

// End ends the session from any goroutine; the first reason counts. The peer is told it, and is gone within a second.
func (s *Session) End(err error) { s.end(flow.ReasonOf(err, flow.None), err) }

func (s *Session) end(reason flow.Reason, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over.Swap(true) {
		return
	}
	s.reason = reason
	if reason != flow.None {
		s.err = err
	}
	s.lost.datagrams.Add(s.queue.close())
	s.cancel()
	if s.peer != nil {
		s.abort = time.AfterFunc(goodbyeLimit, s.peer.Abort)
	}
}

func (s *Session) why() flow.Reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}

// Refuse ends a session that never came to a Relay, and emits its record.
func (s *Session) Refuse(rec *flow.Record, err error) flow.Reason {
	s.end(flow.ReasonOf(err, flow.Connect), err)
	return s.finish(rec)
}

// finish emits the record.
func (s *Session) finish(rec *flow.Record) flow.Reason {
	s.mu.Lock()
	rec.Reason, rec.Err = s.reason, s.err
	s.mu.Unlock()
	sent, received := &s.pushed, &s.delivered
	if s.reverse {
		sent, received = received, sent
	}
	rec.BytesSent, rec.DatagramsSent = sent.bytes.Load(), sent.datagrams.Load()
	rec.BytesReceived, rec.DatagramsReceived = received.bytes.Load(), received.datagrams.Load()
	rec.DatagramsDropped = s.lost.datagrams.Load()
	rec.Duration = time.Since(rec.Start)
	s.owner.cfg.Emit(rec)
	return rec.Reason
}
