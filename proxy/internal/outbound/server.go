package outbound

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/balance"
	"github.com/weft-mesh/weft/proxy/internal/datagram"
	"github.com/weft-mesh/weft/proxy/internal/detect"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/forward"
	"github.com/weft-mesh/weft/proxy/internal/h2"
	"github.com/weft-mesh/weft/proxy/internal/health"
	"github.com/weft-mesh/weft/proxy/internal/hold"
	"github.com/weft-mesh/weft/proxy/internal/identity"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/listener"
	"github.com/weft-mesh/weft/proxy/internal/pool"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// Config is what a Server needs. Tables, Identity, Health and Emit are required.
type Config struct {
	Tables   *table.Holder
	Identity *spiffe.Source
	Health   *health.Registry
	// Want subscribes to a service's body ("namespace/name"); must not block. May be nil.
	Want func(service string)
	// WantAddress subscribes to what the mesh has at a workload's address; the channel is closed once the table has the answer,
	// or when none is to be expected. Must not block. May be nil: calls to addresses are calls to the outside.
	WantAddress func(netip.Addr) <-chan struct{}
	// Own says whether an address is one of this sidecar's own listeners, beyond those that this server serves. May be nil.
	Own func(netip.AddrPort) bool
	// Outside connects to a destination outside of the mesh; nil: as any program does, within 5 s.
	Outside func(context.Context, netip.AddrPort) (net.Conn, error)
	// Resolve finds the addresses of a host outside of the mesh; nil: by the machine's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Emit gets every record once, valid during the call only. It is called from many goroutines.
	Emit func(*flow.Record)
	// Open gets the records of TCP connections and UDP sessions when they begin; nil: nobody wants to know.
	Open func(*flow.Record) flow.Progress
	// Hold bounds the wait for the first table and SVID; 0: 5 s.
	Hold time.Duration
	// ConnectTimeout of TCP and again of TLS; 0: 1 s.
	ConnectTimeout time.Duration
	// Guard bounds what peers cost; nil: with the defaults.
	Guard *limit.Guard
	// DialUDP connects a socket of UDP to what has no sidecar; nil: by net.Dialer.
	DialUDP func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	// MaxSessions of UDP at once; 0: 4,096. SessionIdle ends those on which nothing passes; 0: 60 s.
	MaxSessions int
	SessionIdle time.Duration
}

// Upstream is what one listener stands for.
type Upstream struct {
	// Service is "namespace/name".
	Service string
	// Port of the service.
	Port uint16
	// UDP: the port is one of UDP.
	UDP bool
}

// Server serves a workload's outbound connections. Make one with New.
type Server struct {
	cfg      Config
	hold     *hold.Hold
	balancer *balance.Balancer
	budget   *limit.Budget
	dialer   *identity.Dialer
	pool     *pool.Pool
	engine   *forward.Engine
	h2       *h2.Server
	loop     *listener.Loop
	sweeper  *wire.Sweeper
	own      *own
	ports    *ports
	packets  *datagram.Sessions
	streams  *streams
}

// port is one Upstream while it is served.
type port struct {
	Upstream
	// workload, when valid, is the address of one workload's program: the service is reached there and nowhere else.
	workload netip.AddrPort
	detected detect.Port
	touched  atomic.Int64 // seconds since 1970: when the workload's address was last said to be wanted
}

// New makes a server. It opens nothing and starts nothing.
func New(cfg Config) *Server {
	if cfg.Outside == nil {
		cfg.Outside = dialOutside
	}
	if cfg.Resolve == nil {
		cfg.Resolve = resolve
	}
	if cfg.DialUDP == nil {
		cfg.DialUDP = dialUDP
	}
	if cfg.Guard == nil {
		cfg.Guard = limit.New(limit.Limits{})
	}
	buffers := wire.NewBudget(cfg.Guard.BufferBytes, func() { cfg.Guard.Count(limit.BufferBytes) })
	s := &Server{
		cfg:      cfg,
		hold:     hold.New(hold.Config{Tables: cfg.Tables, Identity: cfg.Identity, Want: cfg.Want, WantAddress: cfg.WantAddress, Ready: cfg.Hold}),
		balancer: balance.New(cfg.Health),
		budget:   limit.NewBudget(20, 10),
		dialer:   identity.NewDialer(cfg.Identity, cfg.Tables, cfg.ConnectTimeout),
		loop:     listener.New(cfg.Guard),
		sweeper:  &wire.Sweeper{Buffers: buffers},
		own:      &own{more: cfg.Own},
		ports:    &ports{},
		streams:  &streams{},
	}
	s.pool = pool.New(pool.Config{Dial: s.dial(identity.ALPNHTTP1), Identity: cfg.Identity, Sweeper: s.sweeper})
	s.packets = datagram.New(datagram.Config{
		Direction: flow.Outbound, Emit: cfg.Emit, Open: cfg.Open, Max: cfg.MaxSessions, Idle: cfg.SessionIdle,
	})
	s.engine = forward.New(forward.Config{
		Direction: flow.Outbound, Upstream: s.pool, Emit: s.emit, Open: cfg.Open, Guard: cfg.Guard, Buffers: buffers,
	})
	s.h2 = h2.New(h2.Config{
		Direction: flow.Outbound,
		Pick:      s.balancer.Pick,
		Dial:      s.dial(identity.ALPNHTTP2),
		Self:      s.self,
		Request:   s.budget.Request,
		Retry:     s.budget.Retry,
		Emit:      cfg.Emit,
		Guard:     cfg.Guard,
		Buffers:   buffers,
	})
	return s
}

func (s *Server) dial(alpn string) func(context.Context, *table.Endpoint) (net.Conn, error) {
	return func(ctx context.Context, ep *table.Endpoint) (net.Conn, error) { return s.dialer.Dial(ctx, ep, alpn) }
}

func (s *Server) self() spiffeid.ID {
	if m := s.cfg.Identity.Load(); m != nil {
		return m.ID
	}
	return spiffeid.ID{}
}

// Handshakes counts the TLS handshakes of this side.
func (s *Server) Handshakes() *identity.Counters { return &s.dialer.Handshakes }

// Guard counts who went over a limit.
func (s *Server) Guard() *limit.Guard { return s.cfg.Guard }

// Buffered is how many bytes are held in large buffers.
func (s *Server) Buffered() int64 { return s.sweeper.Buffers.Used() }

// Datagrams counts what became of UDP.
func (s *Server) Datagrams() *datagram.Sessions { return s.packets }

// Connections counts what the HTTP/1.1 pool did.
func (s *Server) Connections() *pool.Counters { return &s.pool.Counters }

// Run does the work beside the connections until ctx ends: deadlines, idle connections, and what changes with the table. It
// must run while Serve does.
func (s *Server) Run(ctx context.Context) error {
	var g lifecycle.Group
	g.Add("deadlines", s.sweeper.Run)
	g.Add("http1", s.engine.Run)
	g.Add("http2", s.h2.Run)
	g.Add("udp", s.packets.Run)
	g.Add("follow", s.follow)
	err := g.Run(ctx)
	s.pool.Close()
	return err
}

// Serve answers on ln for an upstream until ctx ends, which also cuts connections, or the server drains. It closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener, up Upstream) error {
	p := &port{Upstream: up}
	defer s.own.add(ln.Addr())()
	return s.loop.Serve(ctx, ln, func(ctx context.Context, session *listener.Session) { s.serve(ctx, session, p) })
}

// Flows are what is under way, in no order.
func (s *Server) Flows() []flow.Live {
	return slices.Concat(s.engine.Flows(), s.h2.Flows(), s.packets.Flows())
}

// Drain stops accepting and waits until what is under way has ended. When ctx ends first, the rest is cut.
func (s *Server) Drain(ctx context.Context) error {
	return s.loop.Together(ctx, s.engine, s.h2, s.packets)
}
