package balance

import (
	"math/rand/v2"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/health"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// Balancer chooses endpoints. It is safe for concurrent use.
type Balancer struct {
	registry *health.Registry
	random   func() uint64
}

// New makes a balancer whose memory is r.
func New(r *health.Registry) *Balancer {
	return &Balancer{registry: r, random: rand.Uint64}
}

// Outcome is what became of a choice.
type Outcome struct {
	// Latency until the response began (L7) or the connection stood (L4).
	Latency time.Duration
	// Failed: the endpoint answered with an error of its own making, or broke off.
	Failed bool
	// ConnectFailed: no connection to the endpoint could be made; implies Failed.
	ConnectFailed bool
	// Abandoned: the request ended for reasons that say nothing of the endpoint (the client left, the sidecar refused);
	// nothing is learnt but that it is over.
	Abandoned bool
}

// Choice is an endpoint that a request is counted at until Done.
type Choice struct {
	// Endpoint that was chosen.
	Endpoint *table.Endpoint
	state    *health.State
}

// Pick chooses an endpoint of set for a port of TCP; ok is false when the set has none. Endpoints without a service port serve any.
// failed lists the endpoints that already failed this request. The caller must call Done once on the choice. Pick does not
// allocate once it has seen the set.
func (b *Balancer) Pick(set *table.EndpointSet, method table.Balancing, port uint16, failed []*table.Endpoint) (Choice, bool) {
	return b.pick(set, method, wanted{number: port}, failed)
}

// PickUDP is Pick for a port of UDP.
func (b *Balancer) PickUDP(set *table.EndpointSet, method table.Balancing, port uint16, failed []*table.Endpoint) (Choice, bool) {
	return b.pick(set, method, wanted{number: port, udp: true}, failed)
}

func (b *Balancer) pick(set *table.EndpointSet, method table.Balancing, port wanted, failed []*table.Endpoint) (Choice, bool) {
	if set == nil || len(set.Endpoints) == 0 {
		return Choice{}, false
	}
	g := gather(b.registry.Set(set), port, failed)
	if g.count == 0 {
		return Choice{}, false
	}
	i := g.at(0)
	if g.count > 1 {
		switch method {
		case table.RoundRobin:
			i = g.at(int(g.set.Cursor.Add(1)-1) % g.count)
		case table.LeastRequest:
			i = b.better(&g, fewerRequests)
		default:
			i = b.better(&g, cheaper)
		}
	}
	g.set.States[i].Begin()
	return Choice{Endpoint: set.Endpoints[i], state: g.set.States[i]}, true
}

// Done ends the choice. It must be called exactly once.
func (c Choice) Done(o Outcome) {
	if c.state == nil {
		return
	}
	c.state.End()
	switch {
	case o.Abandoned:
	case o.ConnectFailed:
		// The ejection is the whole penalty: a latency on top would keep it away long after it is back.
		c.state.ConnectFailed()
	case o.Failed:
		c.state.Connected()
		c.state.Failure(o.Latency)
	default:
		c.state.Connected()
		c.state.Observe(o.Latency)
	}
}

// better draws two different candidates and keeps the better one: nearly as good as looking at all, and no herd runs to the
// one that is best at the moment.
func (b *Balancer) better(g *candidates, less func(x, y *health.State) bool) int {
	rnd := b.random()
	first := scale(uint32(rnd), g.count)
	second := scale(uint32(rnd>>32), g.count-1)
	if second >= first {
		second++
	}
	i, j := g.at(first), g.at(second)
	if less(g.set.States[j], g.set.States[i]) {
		return j
	}
	return i
}

func fewerRequests(x, y *health.State) bool { return x.InFlight() < y.InFlight() }

func cheaper(x, y *health.State) bool { return x.Cost() < y.Cost() }

// scale maps a uniform uint32 to [0, n).
func scale(rnd uint32, n int) int { return int(uint64(rnd) * uint64(n) >> 32) }
