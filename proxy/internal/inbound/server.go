package inbound

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/datagram"
	"github.com/weft-mesh/weft/proxy/internal/detect"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/forward"
	"github.com/weft-mesh/weft/proxy/internal/h2"
	"github.com/weft-mesh/weft/proxy/internal/hold"
	"github.com/weft-mesh/weft/proxy/internal/identity"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/listener"
	"github.com/weft-mesh/weft/proxy/internal/netspace"
	"github.com/weft-mesh/weft/proxy/internal/pool"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// Config is what a Server needs. Tables, Identity and Emit are required.
type Config struct {
	Tables   *table.Holder
	Identity *spiffe.Source
	// Emit gets every record once, valid during the call only. It is called from many goroutines.
	Emit func(*flow.Record)
	// Open gets the records of TCP connections and UDP sessions when they begin; nil: nobody wants to know.
	Open func(*flow.Record) flow.Progress
	// App is the address that the program listens on; zero: 127.0.0.1.
	App netip.Addr
	// Space is where the program is; nil: the process's own network namespace.
	Space *netspace.Space
	// Hold bounds the wait for the first table and SVID; 0: 5 s.
	Hold time.Duration
	// Guard bounds what peers cost; nil: with the defaults.
	Guard *limit.Guard
	// MaxSessions of UDP at once; 0: 4,096. SessionIdle ends those on which nothing passes; 0: 60 s.
	MaxSessions int
	SessionIdle time.Duration
}

// Server serves a workload's inbound connections. Make one with New.
type Server struct {
	cfg     Config
	hold    *hold.Hold
	tls     *identity.Server
	budget  *limit.Budget
	pool    *pool.Pool
	engine  *forward.Engine
	h2      *h2.Server
	loop    *listener.Loop
	sweeper *wire.Sweeper
	packets *datagram.Sessions

	mu    sync.Mutex
	mesh  map[*identity.Conn]struct{} // live, to be verified again when the bundle changes
	ports map[uint16]*port            // made on first use
}

// port is one port of the program.
type port struct {
	endpoint *table.Endpoint
	detected detect.Port
}

// New makes a server. It opens nothing and starts nothing.
func New(cfg Config) *Server {
	if !cfg.App.IsValid() {
		cfg.App = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if cfg.Space == nil {
		cfg.Space = netspace.Own()
	}
	if cfg.Guard == nil {
		cfg.Guard = limit.New(limit.Limits{})
	}
	buffers := wire.NewBudget(cfg.Guard.BufferBytes, func() { cfg.Guard.Count(limit.BufferBytes) })
	s := &Server{
		cfg:     cfg,
		hold:    hold.New(hold.Config{Tables: cfg.Tables, Identity: cfg.Identity, Ready: cfg.Hold}),
		tls:     identity.NewServer(cfg.Identity),
		budget:  limit.NewBudget(20, 10),
		loop:    listener.New(cfg.Guard),
		sweeper: &wire.Sweeper{Buffers: buffers},
		mesh:    map[*identity.Conn]struct{}{},
		ports:   map[uint16]*port{},
	}
	s.pool = pool.New(pool.Config{Dial: s.dialApp, Identity: cfg.Identity, Sweeper: s.sweeper})
	s.packets = datagram.New(datagram.Config{
		Direction: flow.Inbound, Emit: cfg.Emit, Open: cfg.Open, Max: cfg.MaxSessions, Idle: cfg.SessionIdle,
	})
	s.engine = forward.New(forward.Config{
		Direction: flow.Inbound, Upstream: s.pool, Emit: cfg.Emit, Open: cfg.Open, Guard: cfg.Guard, Buffers: buffers,
	})
	s.h2 = h2.New(h2.Config{
		Direction: flow.Inbound,
		Dial:      s.dialApp,
		Request:   s.budget.Request,
		Retry:     s.budget.Retry,
		Emit:      cfg.Emit,
		Access:    s.access,
		Guard:     cfg.Guard,
		Buffers:   buffers,
	})
	return s
}

// dialApp connects to the program.
func (s *Server) dialApp(ctx context.Context, ep *table.Endpoint) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: time.Second}
	conn, err := s.cfg.Space.Dial(ctx, dialer, "tcp", netip.AddrPortFrom(ep.Address, ep.TargetPort).String())
	if err != nil {
		return nil, flow.Fail(flow.Connect, err)
	}
	return conn, nil
}

// Guard counts who went over a limit.
func (s *Server) Guard() *limit.Guard { return s.cfg.Guard }

// Buffered is how many bytes are held in large buffers.
func (s *Server) Buffered() int64 { return s.sweeper.Buffers.Used() }

// Datagrams counts what became of UDP.
func (s *Server) Datagrams() *datagram.Sessions { return s.packets }

func (s *Server) access() *table.Access {
	if t := s.cfg.Tables.Load(); t != nil {
		return t.Access
	}
	return nil
}

// Handshakes counts the TLS handshakes of this side.
func (s *Server) Handshakes() *identity.Counters { return &s.tls.Handshakes }

// TicketKey is the secret of this side's TLS session tickets, for the next process; see Inherit.
func (s *Server) TicketKey() []byte { return s.tls.TicketKey() }

// Inherit takes the secret of the process before this one.
func (s *Server) Inherit(ticketKey []byte) { s.tls.Inherit(ticketKey) }

// Run does the work beside the connections until ctx ends: deadlines, idle connections, and what changes with the table or
// the trust bundle. It must run while a Serve does.
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

// ServeMesh answers on the mesh port until ctx ends, which also cuts connections, or the server drains. It closes ln.
func (s *Server) ServeMesh(ctx context.Context, ln net.Listener) error {
	return s.loop.Serve(ctx, ln, s.serveMesh)
}

// ServePlaintext answers on ln for one port of the program like ServeMesh, without identities.
func (s *Server) ServePlaintext(ctx context.Context, ln net.Listener, appPort uint16) error {
	return s.loop.Serve(ctx, ln, func(ctx context.Context, session *listener.Session) {
		s.servePlaintext(ctx, session, appPort)
	})
}

// ServeCaptured is ServePlaintext for a listener that connections to any port of the program are redirected to; original tells
// which port was meant.
func (s *Server) ServeCaptured(ctx context.Context, ln net.Listener, original func(net.Conn) (netip.AddrPort, error)) error {
	return s.loop.Serve(ctx, ln, func(ctx context.Context, session *listener.Session) {
		dst, err := original(session.Conn)
		if err != nil || session.Conn.LocalAddr().String() == dst.String() {
			return // nobody was meant: the listener itself was called
		}
		s.servePlaintext(ctx, session, dst.Port())
	})
}

// Flows are what is under way, in no order.
func (s *Server) Flows() []flow.Live {
	return slices.Concat(s.engine.Flows(), s.h2.Flows(), s.packets.Flows())
}

// Drain stops accepting and waits until what is under way has ended. When ctx ends first, the rest is cut.
func (s *Server) Drain(ctx context.Context) error {
	return s.loop.Together(ctx, s.engine, s.h2, s.packets)
}

// port returns the state of a port of the program.
func (s *Server) port(number uint16) *port {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.ports[number]
	if p == nil {
		addr := netip.AddrPortFrom(s.cfg.App, number)
		p = &port{endpoint: &table.Endpoint{Key: "app " + addr.String(), Service: "localhost", Address: s.cfg.App, TargetPort: number}}
		s.ports[number] = p
	}
	return p
}
