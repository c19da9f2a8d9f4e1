package h2

import (
	"context"
	"net"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/proxy/internal/balance"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// Config is what a Server needs.
type Config struct {
	// Direction of this hop.
	Direction flow.Direction
	// Pick chooses an endpoint of a plan's set; not used for plans with a fixed endpoint.
	Pick func(set *table.EndpointSet, method table.Balancing, port uint16, failed []*table.Endpoint) (balance.Choice, bool)
	// Dial connects to an endpoint for HTTP/2. It bounds itself in time. Errors may be *flow.Failure; others mean Connect.
	Dial func(ctx context.Context, ep *table.Endpoint) (net.Conn, error)
	// Self is this sidecar's identity now; connections made under another one are not used again. May be nil.
	Self func() spiffeid.ID
	// Request counts a first try in the retry budget and Retry asks it for one more; nil: no retries.
	Request func()
	Retry   func() bool
	// Emit gets every request's record once, at its end. The record is valid during the call only.
	Emit func(*flow.Record)
	// Access is compared by Run: when it changes, streams whose Permit now says no are reset. May be nil.
	Access func() *table.Access
	// Limits; zero fields take their default.
	Limits Limits
	// Guard bounds what one peer costs; nil: with the defaults.
	Guard *limit.Guard
	// Buffers bounds what all cost together; nil: nothing does.
	Buffers *wire.Budget
}

// Downstream is what the assembly knows of one client's connection.
type Downstream struct {
	// Peer is the verified identity (inbound), zero on plaintext.
	Peer spiffeid.ID
	MTLS bool
	// Decide walks the stages for one request. It must not block, because the connection waits for it: what takes time goes
	// into Plan.Wait. It is asked again before every retry, with the same rnd, so that a retry sees the newest table and
	// keeps its backend. It sets its stages' fields of rec.
	Decide func(req flow.Request, rnd uint32, rec *flow.Record) Plan
	// Permit says whether a request that runs already would still be let in. May be nil.
	Permit func(req flow.Request) bool
}

// Plan is what the stages decided for a request.
type Plan struct {
	// Reason, unless None, refuses the request; Err says more, for the log.
	Reason flow.Reason
	Err    error
	// Wait, when set, blocks until it is worth asking Decide once more, or says why it is not; the other fields do not
	// count then.
	Wait func(ctx context.Context) (flow.Reason, error)
	// Endpoint, when set, is where to go, without balancing. Otherwise Pick chooses by Set, Balancing and Port.
	Endpoint  *table.Endpoint
	Set       *table.EndpointSet
	Balancing table.Balancing
	Port      uint16
	// Plain: mTLS is off, so that no endpoint is reached through its sidecar.
	Plain bool
	// Timeout of the whole request; 0: none but the client's own.
	Timeout time.Duration
	Retry   table.RetryPolicy
}

// Limits are the engine's own sizes and times, beside those of the Guard.
type Limits struct {
	// MaxUpstreamStreams at once on one connection to an endpoint, if it allows that many; default 100.
	MaxUpstreamStreams int
	// MaxUpstreamConns to one endpoint; default 64.
	MaxUpstreamConns int
	// StreamWindow and ConnWindow are advertised; defaults 256 KiB and 1 MiB.
	StreamWindow, ConnWindow int32
	// ReplayBytes of a request's body are kept for a retry; default 64 KiB.
	ReplayBytes int
	// Idle closes upstream connections without streams and resets streams without frames; defaults 1 min and 1 h.
	ConnIdle, StreamIdle time.Duration
	// ConnAge after which an upstream connection takes no new streams; default 1 h.
	ConnAge time.Duration
}

// bounds are all that a connection keeps to.
type bounds struct {
	Limits
	guard   *limit.Guard
	buffers *wire.Budget
	// resets that all clients may cause together: less than another sidecar takes on the connection that they share.
	resets *sharedBucket
}

func (c *Config) bounds() bounds {
	b := bounds{Limits: c.Limits.withDefaults(), guard: c.Guard, buffers: c.Buffers}
	if b.guard == nil {
		b.guard = limit.New(limit.Limits{})
	}
	together := b.guard.Resets * trusted / 2
	b.resets = &sharedBucket{bucket: newBucket(10*together, together)}
	return b
}

func (l Limits) withDefaults() Limits {
	set(&l.MaxUpstreamStreams, 100)
	set(&l.MaxUpstreamConns, 64)
	set(&l.StreamWindow, 256<<10)
	set(&l.ConnWindow, 1<<20)
	// Before a peer has read our settings it may send this much.
	l.StreamWindow, l.ConnWindow = max(l.StreamWindow, initialWindow), max(l.ConnWindow, initialWindow)
	set(&l.ReplayBytes, 64<<10)
	set(&l.ConnIdle, time.Minute)
	set(&l.StreamIdle, time.Hour)
	set(&l.ConnAge, time.Hour)
	return l
}

func set[T comparable](field *T, fallback T) {
	var zero T
	if *field == zero {
		*field = fallback
	}
}
