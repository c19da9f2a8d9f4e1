package forward

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/h1"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// Upstream keeps connections to endpoints.
type Upstream interface {
	// Get returns a connection, new or not (see wire.Conn.Fresh); careful: the request cannot be sent twice. Dial always
	// returns a new one.
	Get(ctx context.Context, ep *table.Endpoint, careful bool) (*wire.Conn, error)
	Dial(ctx context.Context, ep *table.Endpoint) (*wire.Conn, error)
	// Put gives one back whose exchange is complete.
	Put(c *wire.Conn)
}

// Decider walks the earlier stages for the requests of one client connection. Its errors are *flow.Failure.
type Decider interface {
	// Admit is asked once for each request, before anything else is done for it.
	Admit(ctx context.Context, req *h1.Request, rec *flow.Record) error
	// Target chooses where a try goes, by the newest table. failed lists endpoints that failed this request. Each Target
	// that succeeds is followed by one Settle.
	Target(ctx context.Context, req *h1.Request, failed []*table.Endpoint, rec *flow.Record) (Target, error)
	// Settle says what became of the last Target.
	Settle(o Outcome)
	// Retry asks the budget for one more try.
	Retry() bool
}

// Target is where one try goes.
type Target struct {
	Endpoint *table.Endpoint
	// Mesh: another sidecar answers there.
	Mesh bool
	// Source is told to the app as weft-source.
	Source string
	// Timeout of the whole request; 0: none.
	Timeout time.Duration
	Retry   table.RetryPolicy
}

// Outcome is what became of a try.
type Outcome struct {
	// Latency from when there was a connection until the response began.
	Latency time.Duration
	// Failed: the endpoint broke off, or answered that it cannot (5xx).
	Failed bool
	// ConnectFailed: no connection could be made.
	ConnectFailed bool
	// Abandoned: it says nothing about the endpoint.
	Abandoned bool
}

// Session is what the listener knows of the client's connection.
type Session interface {
	// Idle marks the wait for another request.
	Idle()
	// Busy marks the beginning of an exchange; false: the session was ended.
	Busy() bool
	// Draining: this exchange should be the last.
	Draining() bool
}

// Config of an engine.
type Config struct {
	// Direction of this hop.
	Direction flow.Direction
	Upstream  Upstream
	// Emit gets every record once, valid during the call only.
	Emit func(*flow.Record)
	// Open, unless nil, gets the record of a stream when its relay begins, and returns what counts its bytes as they flow;
	// such a record comes to Emit with Opened set.
	Open func(*flow.Record) flow.Progress
	// Guard bounds what one client costs; nil: with the defaults.
	Guard *limit.Guard
	// Buffers bounds what all cost together; nil: nothing does.
	Buffers *wire.Budget
	// KeepAlive is how long a client may stay without a request; 0: 10 min. Pools of callers give up sooner.
	KeepAlive time.Duration
	// StreamIdle ends exchanges and relays on which nothing moves; 0: 1 h.
	StreamIdle time.Duration
}

// Engine serves client connections. Make one with New; it is safe for use by many goroutines.
type Engine struct {
	cfg Config

	mu    sync.Mutex
	lives map[*live]struct{}
}

// New makes an engine.
func New(cfg Config) *Engine {
	for _, d := range []struct {
		field    *time.Duration
		fallback time.Duration
	}{{&cfg.KeepAlive, 10 * time.Minute}, {&cfg.StreamIdle, time.Hour}} {
		if *d.field == 0 {
			*d.field = d.fallback
		}
	}
	if cfg.Guard == nil {
		cfg.Guard = limit.New(limit.Limits{})
	}
	return &Engine{cfg: cfg, lives: map[*live]struct{}{}}
}

// Recheck ends every request and byte stream under way that permit does not allow any more. A byte stream has no request.
func (e *Engine) Recheck(permit func(peer spiffeid.ID, req flow.Request) bool) {
	for _, l := range e.all() {
		l.recheck(permit)
	}
}

func (l *live) recheck(permit func(peer spiffeid.ID, req flow.Request) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.active {
		return
	}
	allowed := false
	if l.request == nil {
		allowed = permit(l.peer, nil)
	} else {
		view := l.request.View()
		allowed = permit(l.peer, &view)
	}
	if !allowed {
		l.cut(flow.Denied)
	}
}

// Drain returns at once: exchanges end with the clients' connections, whose drain is the listener's.
func (e *Engine) Drain(context.Context) error { return nil }

// Cut ends every request and byte stream under way because the process ends, and returns how many there were.
func (e *Engine) Cut() (n int) {
	for _, l := range e.all() {
		l.mu.Lock()
		if l.active {
			l.cut(flow.Draining)
			n++
		}
		l.mu.Unlock()
	}
	return n
}

func (e *Engine) all() []*live {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Keys(e.lives))
}

func (l *live) deny() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut(flow.Denied)
}

// cut ends both connections; the first reason counts. The caller holds mu.
func (l *live) cut(reason flow.Reason) {
	if l.ended == flow.None {
		l.ended = reason
	}
	l.client.Abort()
	if l.up != nil {
		l.up.Abort()
	}
}

// begin makes a request, of rec, visible; end hides it and says why somebody has ended it meanwhile, if somebody has.
func (l *live) begin(req *h1.Request, rec *flow.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active, l.request, l.since, l.service = true, req, rec.Start, rec.Service
	l.waiting.Store(0)
	l.left.Store(false)
}

func (l *live) end() flow.Reason {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active, l.request, l.up, l.endpoint, l.since = false, nil, nil, "", time.Now()
	return l.ended
}

// use makes the upstream connection of the current try, to an endpoint, visible; nil hides it before it is given back or closed.
func (l *live) use(up *wire.Conn, ep *table.Endpoint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up = up
	l.waiting.Store(0)
	if ep != nil {
		l.endpoint = ep.Key
	}
	if l.ended != flow.None && up != nil {
		up.Abort()
	}
}

func (e *Engine) add(l *live) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lives[l] = struct{}{}
}

func (e *Engine) remove(l *live) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.lives, l)
}
