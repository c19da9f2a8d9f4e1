package datagram

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
)

const (
	// tick is how exact the limits of sessions are.
	tick = 250 * time.Millisecond
	// quiet is how long nothing may pass on a session that is to end before it does.
	quiet = time.Second
	// retiredFor is the longest that a session waits for replies once its endpoint has left.
	retiredFor = 10 * time.Second
)

// Config of the sessions of one side of a sidecar. Emit is required.
type Config struct {
	Direction flow.Direction
	// Emit gets every record once, valid during the call only.
	Emit func(*flow.Record)
	// Open gets the records of sessions when they begin; nil: nobody wants to know.
	Open func(*flow.Record) flow.Progress
	// Max sessions at once; 0: 4,096. More are refused.
	Max int
	// Idle is how long a session lives on which nothing passes; 0: 60 s.
	Idle time.Duration
	// Stall is how long a peer may take nothing; 0: 10 s.
	Stall time.Duration
	// Memory bounds, in bytes, what waits to be sent in all sessions together; 0: 64 MB.
	Memory int64
}

// Dropped counts datagrams by cause; read them at any time.
type Dropped struct {
	Backpressure atomic.Uint64 // the other end was too slow
	Refused      atomic.Uint64 // no session could be had
	Oversize     atomic.Uint64 // longer than MaxPayload
	Unsent       atomic.Uint64 // the socket at the far end did not take it
}

// Sessions are the sessions of one side of a sidecar. Make one with New; it is safe for use by many goroutines.
type Sessions struct {
	// Dropped counts what was lost.
	Dropped Dropped

	cfg      Config
	memory   memory
	now      atomic.Int64 // nanoseconds since 1970, as of the last tick
	told     atomic.Int64 // when a refusal was last recorded
	draining atomic.Bool
	rule     atomic.Pointer[rule]

	mu    sync.Mutex
	all   map[*Session]struct{}
	empty chan struct{} // closed when the last session ends while draining; nil while nobody waits
}

// New makes an empty set.
func New(cfg Config) *Sessions {
	if cfg.Max == 0 {
		cfg.Max = 4096
	}
	if cfg.Idle == 0 {
		cfg.Idle = time.Minute
	}
	if cfg.Stall == 0 {
		cfg.Stall = 10 * time.Second
	}
	if cfg.Memory == 0 {
		cfg.Memory = 64 << 20
	}
	x := &Sessions{cfg: cfg, memory: memory{limit: cfg.Memory}, all: map[*Session]struct{}{}}
	x.now.Store(time.Now().UnixNano())
	return x
}

// Len is the number of sessions.
func (x *Sessions) Len() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.all)
}

// errMany says that a limit is reached.
var errMany = errors.New("there are too many sessions of UDP")

// Begin makes a session, which the caller ends by Forget. reverse: the client is behind the peer that Relay will get. ctx is
// the session's own and ends with it. Errors are *flow.Failure with reason Overload or Draining.
func (x *Sessions) Begin(ctx context.Context, client Client, reverse bool) (context.Context, *Session, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.draining.Load():
		return nil, nil, flow.Fail(flow.Draining, nil)
	case len(x.all) >= x.cfg.Max:
		return nil, nil, flow.Fail(flow.Overload, fmt.Errorf("%w: %d", errMany, len(x.all)))
	}
	s := &Session{Client: client, owner: x, queue: newQueue(&x.memory), reverse: reverse, begun: time.Now()}
	s.seen.Store(x.now.Load())
	ctx, s.cancel = context.WithCancel(ctx)
	context.AfterFunc(ctx, func() { s.end(flow.Draining, context.Cause(ctx)) }) // without effect when it has ended otherwise
	x.all[s] = struct{}{}
	return ctx, s, nil
}

// Forget takes a session out that is over.
func (x *Sessions) Forget(s *Session) {
	s.end(flow.None, nil)
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.all, s)
	if x.empty != nil && len(x.all) == 0 {
		close(x.empty)
		x.empty = nil
	}
}

func (x *Sessions) list() []*Session {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make([]*Session, 0, len(x.all))
	for s := range x.all {
		list = append(list, s)
	}
	return list
}

// Flows are the sessions, in no order.
func (x *Sessions) Flows() []flow.Live {
	var out []flow.Live
	for _, s := range x.list() {
		out = append(out, s.look())
	}
	return out
}

func (s *Session) look() flow.Live {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent, received := &s.pushed, &s.delivered
	if s.reverse {
		sent, received = received, sent
	}
	v := flow.Live{
		Direction: s.owner.cfg.Direction, Protocol: flow.UDP, Stage: flow.Connecting, Since: s.begun, Service: s.service,
		Endpoint: s.endpoint, Sent: sent.bytes.Load(), Received: received.bytes.Load(),
	}
	if s.From.IsValid() {
		v.Client = s.From.String()
	}
	if !s.Peer.IsZero() {
		v.Peer = s.Peer.String()
	}
	if s.peer != nil {
		v.Stage = flow.Streaming
	}
	return v
}
