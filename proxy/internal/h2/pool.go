package h2

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// pool holds the connections to endpoints, by endpoint and by the pair of identities.
type pool struct {
	limits *bounds
	dial   func(ctx context.Context, ep *table.Endpoint) (net.Conn, error)
	self   func() spiffeid.ID

	mu     sync.Mutex
	groups map[poolKey]*group
	closed bool
}

type poolKey struct {
	endpoint  string
	own, peer spiffeid.ID
}

// group is the connections of one key. Under the pool's mu.
type group struct {
	conns   []*conn
	dialing *dialing
}

// dialing is a connection in the making that several requests wait for.
type dialing struct {
	done chan struct{}
	err  error // set before done is closed
}

func newPool(limits *bounds, dial func(context.Context, *table.Endpoint) (net.Conn, error), self func() spiffeid.ID) *pool {
	return &pool{limits: limits, dial: dial, self: self, groups: map[poolKey]*group{}}
}

func (p *pool) key(ep *table.Endpoint) poolKey {
	k := poolKey{endpoint: ep.Key, peer: ep.ID}
	if p.self != nil {
		k.own = p.self()
	}
	return k
}

// take returns a connection with a reserved place, or nil when there is none right now.
func (p *pool) take(ep *table.Endpoint) *conn {
	key := p.key(ep)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.groups[key].take()
}

// take fills the oldest connections first, so that the others can become idle and close.
func (g *group) take() *conn {
	if g == nil {
		return nil
	}
	now := time.Now()
	for _, c := range g.conns {
		if c.reserve(now) {
			return c
		}
	}
	return nil
}

// wait returns a connection with a reserved place, making one if need be. dialled says that this call began the making.
func (p *pool) wait(ctx context.Context, ep *table.Endpoint) (c *conn, dialled bool, err error) {
	key := p.key(ep)
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, dialled, flow.Fail(flow.Draining, errClosed)
		}
		g := p.groups[key]
		if g == nil {
			g = &group{}
			p.groups[key] = g
		}
		if c := g.take(); c != nil {
			p.mu.Unlock()
			return c, dialled, nil
		}
		d := g.dialing
		if d == nil {
			if len(g.conns) >= p.limits.MaxUpstreamConns {
				p.mu.Unlock()
				return nil, dialled, flow.Fail(flow.Overload, nil)
			}
			d = &dialing{done: make(chan struct{})}
			g.dialing, dialled = d, true
			go p.make(key, g, d, ep)
		}
		p.mu.Unlock()
		select {
		case <-d.done:
			if d.err != nil {
				return nil, dialled, d.err
			}
		case <-ctx.Done():
			return nil, dialled, ctx.Err()
		}
	}
}

// make dials and runs a connection until it is over. No request's end ends it: others may wait for it.
func (p *pool) make(key poolKey, g *group, d *dialing, ep *table.Endpoint) {
	nc, err := p.dial(context.Background(), ep)
	if err != nil {
		p.mu.Lock()
		g.dialing = nil
		p.forget(key, g)
		p.mu.Unlock()
		d.err = err
		close(d.done)
		return
	}
	c := newConn(nc, true, false, p.limits)
	c.role = clientRole{c}
	p.mu.Lock()
	g.dialing = nil
	g.conns = append(g.conns, c)
	closed := p.closed
	p.mu.Unlock()
	close(d.done)
	if closed {
		c.shut(errClosed)
	}
	_ = c.run() // every stream has been told
	p.mu.Lock()
	g.conns = slices.DeleteFunc(g.conns, func(other *conn) bool { return other == c })
	p.forget(key, g)
	p.mu.Unlock()
}

// forget drops an empty group. Under mu.
func (p *pool) forget(key poolKey, g *group) {
	if len(g.conns) == 0 && g.dialing == nil && p.groups[key] == g {
		delete(p.groups, key)
	}
}

// sweep closes connections that have been idle for too long.
func (p *pool) sweep() {
	now := time.Now()
	for _, c := range p.all() {
		c.mu.Lock()
		idle := len(c.streams) == 0 && c.reserved == 0 && now.Sub(c.idleSince) > p.limits.ConnIdle
		c.mu.Unlock()
		if idle {
			c.retire()
		}
	}
}

// close ends all connections at once.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	conns := p.all()
	for _, c := range conns {
		c.shut(errClosed)
	}
	for _, c := range conns {
		<-c.done
	}
}

func (p *pool) all() []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	var conns []*conn
	for _, g := range p.groups {
		conns = append(conns, g.conns...)
	}
	return conns
}
