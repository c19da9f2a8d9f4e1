package balance

import (
	"slices"

	"github.com/weft-mesh/weft/proxy/internal/health"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// tier is how welcome an endpoint is; lower is better. Only the best tier that is not empty is balanced over.
type tier uint8

const (
	good          tier = iota
	ejected            // connections failed lately
	unknown            // its lease ran out
	unknownEject       // both
	failedAlready      // failed this very request
	failedUnknown
	wrongPort // not a candidate
	tiers     = wrongPort
)

// candidates are the endpoints of a set that may be chosen now: those in the tiers from lowest to highest, which are the
// same unless ejection is ignored.
type candidates struct {
	set             *health.Set
	port            wanted
	failed          []*table.Endpoint
	lowest, highest tier
	count           int
}

// wanted is the port that is asked for; number 0: any.
type wanted struct {
	number uint16
	udp    bool
}

// panicAbove is the share of ejected endpoints, in percent, above which ejection is ignored. It is high because what ejects is
// a failed connect: sending there again mostly fails and eats the retry budget. Only when next to nothing is left, the fault
// is likely our own, or the few that are left would be crushed.
const panicAbove = 90

// gather finds the best tier, among the endpoints with a current lease first.
func gather(set *health.Set, port wanted, failed []*table.Endpoint) candidates {
	g := candidates{set: set, port: port, failed: failed}
	var counts [tiers + 1]int
	known, ejections := 0, 0
	for i, ep := range set.Of.Endpoints {
		t := g.tier(i)
		counts[t]++
		if t != wrongPort && !ep.Unknown {
			known++
			if set.States[i].Ejected() {
				ejections++
			}
		}
	}
	for t := good; t < tiers; t++ {
		if counts[t] > 0 {
			g.lowest, g.highest, g.count = t, t, counts[t]
			break
		}
	}
	if g.count > 0 && g.lowest <= ejected && 100*ejections > panicAbove*known {
		g.lowest, g.highest, g.count = good, ejected, counts[good]+counts[ejected]
	}
	return g
}

// at returns the index of the nth candidate. States may have changed since they were counted; then it settles for the last
// candidate, or for any endpoint of the port.
func (g *candidates) at(n int) int {
	last := -1
	for i := range g.set.States {
		if t := g.tier(i); t < g.lowest || t > g.highest {
			continue
		}
		last = i
		if n == 0 {
			return i
		}
		n--
	}
	if last >= 0 {
		return last
	}
	for i := range g.set.States {
		if g.tier(i) != wrongPort {
			return i
		}
	}
	return 0
}

func (g *candidates) tier(i int) tier {
	ep := g.set.Of.Endpoints[i]
	if ep.UDP != g.port.udp || ep.ServicePort != 0 && g.port.number != 0 && ep.ServicePort != g.port.number {
		return wrongPort
	}
	t := good
	if ep.Unknown {
		t = unknown
	}
	// The keys decide, not the pointers: a retry may see a newer table than the try that failed.
	if slices.ContainsFunc(g.failed, func(f *table.Endpoint) bool { return f == ep || f.Key == ep.Key }) {
		if ep.Unknown {
			return failedUnknown
		}
		return failedAlready
	}
	if g.set.States[i].Ejected() {
		t++
	}
	return t
}
