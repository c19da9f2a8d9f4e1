package h2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

const (
	// prefaceTimeout bounds what a client may take to begin.
	prefaceTimeout = 10 * time.Second
	// drainGrace is how long a client may take to answer the first GOAWAY.
	drainGrace = time.Second
	// lastWord is how long the answers to what is cut may take.
	lastWord = 100 * time.Millisecond
)

// Server relays HTTP/2 connections. Make one with New; it is safe for use by many goroutines.
type Server struct {
	cfg    Config
	limits bounds
	pool   *pool

	mu       sync.Mutex
	conns    map[*conn]struct{}
	serving  int // calls of Serve
	draining bool
	empty    chan struct{} // closed when draining and nothing is served
	access   *table.Access // Run only
}

// New makes a server. It opens nothing and starts nothing.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, limits: cfg.bounds(), conns: map[*conn]struct{}{}, empty: make(chan struct{})}
	s.pool = newPool(&s.limits, cfg.Dial, cfg.Self)
	return s
}

// Serve relays one client's connection, which begins with the client's preface, until it is over, and closes it. Cancelling
// ctx cuts it off; Drain ends it gracefully. A client that just leaves is no error.
func (s *Server) Serve(ctx context.Context, nc net.Conn, at Downstream) error {
	defer nc.Close()
	s.enter()
	defer s.leave()
	if err := readPreface(nc); err != nil {
		return err
	}
	c := newConn(nc, false, at.MTLS, &s.limits)
	c.role = &serverRole{server: s, conn: c, at: &at}
	s.add(c)
	defer s.remove(c)
	stop := context.AfterFunc(ctx, func() { c.shut(ctx.Err()) })
	defer stop()
	if err := c.run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("http2 connection from %s: %w", nc.RemoteAddr(), err)
	}
	return nil
}

func readPreface(nc net.Conn) error {
	if err := nc.SetReadDeadline(time.Now().Add(prefaceTimeout)); err != nil {
		return fmt.Errorf("http2 preface: %w", err)
	}
	var got [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(nc, got[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return fmt.Errorf("http2 preface: %w", err)
	}
	if string(got[:]) != http2.ClientPreface {
		_, _ = nc.Write(appendGoAway(nil, 0, http2.ErrCodeProtocol, "")) // it is over either way
		finish(nc)
		return errors.New("http2 preface: not HTTP/2")
	}
	if err := nc.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("http2 preface: %w", err)
	}
	return nil
}

// Run closes what has been idle for too long, and re-evaluates streams when access changes, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for sweep := 0; ; sweep++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		s.relieve()
		if s.cfg.Access != nil {
			if now := s.cfg.Access(); now != s.access {
				s.access = now
				s.each(func(x *exchange) { x.deny() })
			}
		}
		if sweep%10 == 0 {
			s.pool.sweep()
			limit := int32(s.limits.StreamIdle / (10 * time.Second))
			s.each(func(x *exchange) {
				if x.quiet.Add(1) > limit {
					x.expire()
				}
			})
		}
	}
}

// Retire takes all connections to endpoints out of use: their streams end as they may, new ones go over new connections. It
// is for changes that connections made before them would not obey.
func (s *Server) Retire() {
	for _, c := range s.pool.all() {
		c.retire()
	}
}

// Drain asks every client to finish, and returns when the last has or ctx ends; then it closes everything.
func (s *Server) Drain(ctx context.Context) error {
	conns := s.beginDrain()
	for _, c := range conns {
		c.drain()
	}
	grace := time.NewTimer(drainGrace)
	defer grace.Stop()
	var err error
wait:
	for {
		select {
		case <-grace.C:
			for _, c := range conns {
				c.finalise()
			}
		case <-s.empty:
			break wait
		case <-ctx.Done():
			err = fmt.Errorf("drain http2: %w", context.Cause(ctx))
			break wait
		}
	}
	s.mu.Lock()
	rest := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		rest = append(rest, c)
	}
	s.mu.Unlock()
	for _, c := range rest {
		c.shut(errClosed)
	}
	s.pool.close()
	return err
}

// Cut ends every stream because the process ends, each with an answer if it can still be given, and returns how many there were.
// It is called while Drain waits.
func (s *Server) Cut() (n int) {
	s.each(func(x *exchange) {
		x.cut()
		n++
	})
	if n == 0 {
		return 0
	}
	limit := time.NewTimer(lastWord)
	defer limit.Stop()
	select {
	case <-s.empty:
	case <-limit.C:
	}
	return n
}

func (s *Server) beginDrain() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.draining = true
	s.closeIfEmpty()
	return conns
}

func (s *Server) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving++
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serving--
	s.closeIfEmpty()
}

// closeIfEmpty tells Drain. Under mu.
func (s *Server) closeIfEmpty() {
	if !s.draining || s.serving > 0 {
		return
	}
	select {
	case <-s.empty:
	default:
		close(s.empty)
	}
}

func (s *Server) add(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	if s.draining {
		// It came too late: it may finish what it has begun.
		c.drain()
	}
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// each calls f for every exchange, outside all locks.
func (s *Server) each(f func(*exchange)) {
	var all []*exchange
	s.mu.Lock()
	for c := range s.conns {
		c.mu.Lock()
		for _, st := range c.streams {
			if st.x != nil {
				all = append(all, st.x)
			}
		}
		c.mu.Unlock()
	}
	s.mu.Unlock()
	for _, x := range all {
		f(x)
	}
}

// Flows are the streams under way, in no order.
func (s *Server) Flows() []flow.Live {
	var out []flow.Live
	s.each(func(x *exchange) {
		if v, ok := x.look(); ok {
			out = append(out, v)
		}
	})
	return out
}

func (s *Server) newExchange(at *Downstream, bodyDone bool) *exchange {
	x := &exchange{server: s, at: at, rnd: rand.Uint32(), keep: true, bodyDone: bodyDone}
	x.rec.Reset()
	x.rec.Direction, x.rec.Start, x.rec.Protocol = s.cfg.Direction, time.Now(), flow.HTTP2
	x.rec.Peer, x.rec.MTLS = at.Peer, at.MTLS
	return x
}

// accept begins the exchange of a new stream. It runs on the reader of the client's connection, under mu.
func (x *exchange) accept(b *block) error {
	h, err := validateRequest(b.fields)
	if err != nil && !b.tooLarge || h.length > 0 && b.end {
		return http2.StreamError{StreamID: x.down.id, Code: http2.ErrCodeProtocol, Cause: errMalformed}
	}
	x.reader = x.down.conn
	defer func() { x.reader = nil }()
	ok := x.req.parse(b.fields, &h)
	x.down.declared = h.length
	x.rec.RequestID = x.req.id
	if x.req.grpc {
		x.rec.Protocol = flow.GRPC
	}
	switch {
	case b.tooLarge:
		x.fail(flow.TooLarge, x.server.limits.guard.Refuse(b.over))
	case len(x.req.target) > x.server.limits.guard.TargetBytes:
		x.fail(flow.TooLarge, x.server.limits.guard.Refuse(limit.TargetBytes))
	case x.req.method == "CONNECT":
		x.fail(flow.Tunnel, errTunnel)
	case !ok:
		x.fail(flow.BadRequest, fmt.Errorf("%w: method %q or path cannot be relayed", errMalformed, x.req.method))
	default:
		x.begin(x.at.Decide(&x.req, x.rnd, &x.rec))
	}
	return nil
}
