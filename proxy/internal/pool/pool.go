package pool

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// Dial connects to an endpoint for HTTP/1.1.
type Dial func(ctx context.Context, ep *table.Endpoint) (net.Conn, error)

// Config of a pool.
type Config struct {
	Dial Dial
	// Identity is what connections are made under.
	Identity *spiffe.Source
	// Sweeper bounds what waits on the connections.
	Sweeper *wire.Sweeper
	// MaxIdle connections for each endpoint; 0: 64.
	MaxIdle int
	// IdleTimeout; 0: 50 s, less than the keep-alive time of common servers (nginx 75 s, load balancers 60 s), so that it is
	// we who close. Servers that close sooner (Node 5 s) are found out by looking before re-use.
	IdleTimeout time.Duration
	// MaxAge of a connection; 0: 10 min. Old connections would keep load where it was, and old SVIDs in use.
	MaxAge time.Duration
}

// Counters are read at any time.
type Counters struct {
	Dialled atomic.Uint64
	Reused  atomic.Uint64
	Stale   atomic.Uint64
}

// Pool keeps idle connections. Make one with New; it is safe for use by many goroutines.
type Pool struct {
	Counters Counters

	cfg Config

	mu    sync.Mutex
	homes map[key]*home
}

// key is whom connections are for.
type key struct {
	endpoint string
	own      spiffeid.ID
	peer     spiffeid.ID
}

// home is where the connections of one key come back to.
type home struct {
	key key

	mu     sync.Mutex
	idle   []*wire.Conn // the last is the youngest to have come back
	closed bool         // its endpoint is gone; guarded by mu
}

// origin ties a connection to its home and the bundle that it was made under.
type origin struct {
	home       *home
	generation uint64
}

// New makes an empty pool.
func New(cfg Config) *Pool {
	if cfg.MaxIdle == 0 {
		cfg.MaxIdle = 64
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = 50 * time.Second
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 10 * time.Minute
	}
	return &Pool{cfg: cfg, homes: map[key]*home{}}
}

// Get returns an idle connection to the endpoint, or dials one. Errors are those of Dial. careful is for requests that cannot
// be sent twice: then the socket is looked at however short it has rested.
func (p *Pool) Get(ctx context.Context, ep *table.Endpoint, careful bool) (*wire.Conn, error) {
	k, generation := p.key(ep)
	h := p.home(k)
	now := time.Now()
	for c := h.pop(); c != nil; c = h.pop() {
		look := careful || now.Sub(c.IdleSince) >= time.Millisecond
		if p.usable(c, now, generation) && !(look && c.Stale()) {
			p.Counters.Reused.Add(1)
			c.Fresh = false
			return c, nil
		}
		p.Counters.Stale.Add(1)
		c.Close()
	}
	return p.dial(ctx, ep, origin{home: h, generation: generation})
}

// Dial makes a new connection, whatever is idle.
func (p *Pool) Dial(ctx context.Context, ep *table.Endpoint) (*wire.Conn, error) {
	k, generation := p.key(ep)
	return p.dial(ctx, ep, origin{home: p.home(k), generation: generation})
}

func (p *Pool) dial(ctx context.Context, ep *table.Endpoint, from origin) (*wire.Conn, error) {
	nc, err := p.cfg.Dial(ctx, ep)
	if err != nil {
		return nil, err
	}
	p.Counters.Dialled.Add(1)
	c := wire.New(nc, p.cfg.Sweeper)
	c.Home = &from
	return c, nil
}

// Put gives back a connection whose exchange is complete on both sides. It closes the connection if it should not be kept: whatever
// came behind the response would be taken for the next one.
func (p *Pool) Put(c *wire.Conn) {
	from := c.Home.(*origin)
	c.IdleSince = time.Now()
	if c.Surplus() || !c.Disarm() || c.IdleSince.Sub(c.Since) > p.cfg.MaxAge || !from.home.push(c, p.cfg.MaxIdle) {
		c.Close()
	}
}

// usable decides about a connection that was idle, without looking at the socket.
func (p *Pool) usable(c *wire.Conn, now time.Time, generation uint64) bool {
	rested := now.Sub(c.IdleSince)
	return rested <= p.cfg.IdleTimeout && now.Sub(c.Since) <= p.cfg.MaxAge && c.Home.(*origin).generation == generation
}

func (p *Pool) key(ep *table.Endpoint) (key, uint64) {
	k := key{endpoint: ep.Key, peer: ep.ID}
	m := p.cfg.Identity.Load()
	if m == nil {
		return k, 0
	}
	k.own = m.ID
	return k, m.Generation
}

func (p *Pool) home(k key) *home {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.homes[k]
	if h == nil {
		h = &home{key: k}
		p.homes[k] = h
	}
	return h
}

func (h *home) pop() *wire.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.idle)
	if n == 0 {
		return nil
	}
	c := h.idle[n-1]
	h.idle[n-1] = nil
	h.idle = h.idle[:n-1]
	return c
}

func (h *home) push(c *wire.Conn, limit int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.idle) >= limit {
		return false
	}
	h.idle = append(h.idle, c)
	return true
}
