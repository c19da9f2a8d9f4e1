package forward

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/h1"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// live is what is under way on one client connection, as other goroutines may see it.
type live struct {
	peer spiffeid.ID

	// of byte streams
	sent, received atomic.Int64

	waiting atomic.Int64 // since when only the response is awaited, in nanoseconds since 1970; 0: it is not
	left    atomic.Bool  // the client left while it was

	mu       sync.Mutex
	active   bool
	since    time.Time   // when active changed last
	request  *h1.Request // nil: a byte stream
	service  string
	endpoint string // of the current try
	client   *wire.Conn
	up       *wire.Conn
	ended    flow.Reason // why somebody else has ended it; None: nobody has
}

// Flows are what is under way, in no order.
func (e *Engine) Flows() []flow.Live {
	var out []flow.Live
	for _, l := range e.all() {
		out = append(out, l.look(e.cfg.Direction))
	}
	return out
}

func (l *live) look(d flow.Direction) flow.Live {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := flow.Live{
		Direction: d, Protocol: flow.HTTP1, Stage: flow.Idle, Since: l.since, Client: l.client.NetConn().RemoteAddr().String(),
		Service: l.service, Endpoint: l.endpoint, Sent: l.sent.Load(), Received: l.received.Load(),
	}
	if !l.peer.IsZero() {
		v.Peer = l.peer.String()
	}
	switch {
	case !l.active:
	case l.request == nil:
		v.Protocol, v.Stage = flow.TCP, flow.Streaming
	default:
		v.Request = string(l.request.Method()) + " " + string(l.request.Authority())
		if v.Stage = flow.Connecting; l.up != nil {
			v.Stage = flow.Waiting
		}
	}
	return v
}
