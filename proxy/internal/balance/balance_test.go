package balance

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/proxy/internal/health"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

const port = 80

func newSet(n int) *table.EndpointSet {
	set := &table.EndpointSet{Key: "default/s"}
	for i := range n {
		set.Endpoints = append(set.Endpoints, &table.Endpoint{Key: fmt.Sprint("e", i), ServicePort: port})
	}
	return set
}

func newBalancer(seed uint64) *Balancer {
	b := New(health.NewRegistry())
	b.random = rand.New(rand.NewPCG(seed, 1)).Uint64
	return b
}

// TestConformance is what every method must do.
func TestConformance(t *testing.T) {
	for name, method := range map[string]table.Balancing{
		"peak ewma": table.PeakEWMA, "round robin": table.RoundRobin, "least request": table.LeastRequest,
	} {
		t.Run(name, func(t *testing.T) { conformance(t, method) })
	}
}

func conformance(t *testing.T, method table.Balancing) {
	t.Run("nothing to choose from", func(t *testing.T) {
		b := newBalancer(1)
		for _, set := range []*table.EndpointSet{nil, {}, {Endpoints: []*table.Endpoint{{Key: "x", ServicePort: port + 1}}}} {
			if c, ok := b.Pick(set, method, port, nil); ok {
				t.Errorf("chose %v", c.Endpoint)
			}
		}
	})
	t.Run("D7 every equal endpoint gets its share", func(t *testing.T) {
		b, set := newBalancer(2), newSet(4)
		got := map[*table.Endpoint]int{}
		for range 4000 {
			c, _ := b.Pick(set, method, port, nil)
			got[c.Endpoint]++
			c.Done(Outcome{Latency: time.Millisecond})
		}
		for _, ep := range set.Endpoints {
			if got[ep] < 800 || got[ep] > 1200 {
				t.Errorf("%s got %d of 4000", ep.Key, got[ep])
			}
		}
	})
	t.Run("preference", func(t *testing.T) { preference(t, method) })
	t.Run("R4 a retry avoids what failed", func(t *testing.T) {
		b, set := newBalancer(3), newSet(3)
		var failed []*table.Endpoint
		for range set.Endpoints {
			c, _ := b.Pick(set, method, port, failed)
			for _, f := range failed {
				if f == c.Endpoint {
					t.Fatalf("chose %s again while others were left", f.Key)
				}
			}
			c.Done(Outcome{Failed: true})
			failed = append(failed, c.Endpoint)
		}
		if c, ok := b.Pick(set, method, port, failed); !ok || c.Endpoint == nil {
			t.Error("no choice although endpoints exist")
		}
	})
	t.Run("no allocation", func(t *testing.T) {
		b, set := newBalancer(4), newSet(10)
		failed := set.Endpoints[:1]
		if n := testing.AllocsPerRun(100, func() {
			c, _ := b.Pick(set, method, port, failed)
			c.Done(Outcome{Latency: time.Millisecond})
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// preference compares each choice with a plain statement of the order.
func preference(t *testing.T, method table.Balancing) {
	rapid.Check(t, func(t *rapid.T) {
		set := newSet(rapid.IntRange(1, 8).Draw(t, "n"))
		b := newBalancer(rapid.Uint64().Draw(t, "seed"))
		var failed []*table.Endpoint
		isFailed := map[*table.Endpoint]bool{}
		known, out := 0, 0
		for _, ep := range set.Endpoints {
			ep.Unknown = rapid.Bool().Draw(t, "unknown")
			if rapid.Bool().Draw(t, "ejected") {
				b.registry.Endpoint(ep.Key).ConnectFailed()
			}
			if rapid.Bool().Draw(t, "failed") {
				failed, isFailed[ep] = append(failed, ep), true
			}
			if !ep.Unknown {
				known++
				if b.registry.Endpoint(ep.Key).Ejected() {
					out++
				}
			}
		}
		panics := 10*out > 9*known
		rank := func(ep *table.Endpoint) int {
			switch ejected := b.registry.Endpoint(ep.Key).Ejected(); {
			case isFailed[ep] && ep.Unknown:
				return 5
			case isFailed[ep]:
				return 4
			case ep.Unknown && ejected:
				return 3
			case ep.Unknown:
				return 2
			case ejected && !panics:
				return 1
			default:
				return 0
			}
		}
		best := 5
		for _, ep := range set.Endpoints {
			best = min(best, rank(ep))
		}
		c, ok := b.Pick(set, method, port, failed)
		if !ok || rank(c.Endpoint) != best {
			t.Fatalf("chose %v of rank %d, best is %d", c.Endpoint, rank(c.Endpoint), best)
		}
	})
}

// simulate sends a request every millisecond for a minute, each answered after its endpoint's latency, in fake time.
func simulate(t *testing.T, method table.Balancing, latency func(i int) (time.Duration, bool), n int) []int {
	got := make([]int, n)
	synctest.Test(t, func(t *testing.T) {
		b, set := newBalancer(7), newSet(n)
		index := map[*table.Endpoint]int{}
		for i, ep := range set.Endpoints {
			index[ep] = i
		}
		for range 60_000 {
			c, _ := b.Pick(set, method, port, nil)
			i := index[c.Endpoint]
			got[i]++
			wait, fails := latency(i)
			time.AfterFunc(wait, func() { c.Done(Outcome{Latency: wait, Failed: fails}) })
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Minute)
		for _, s := range b.registry.Set(set).States {
			if s.InFlight() != 0 {
				t.Errorf("%d requests in flight at the end", s.InFlight())
			}
		}
	})
	return got
}

func TestL2_SlowEndpointGetsLess(t *testing.T) {
	slow := func(i int) (time.Duration, bool) {
		if i == 0 {
			return 200 * time.Millisecond, false
		}
		return 5 * time.Millisecond, false
	}
	for name, tc := range map[string]struct {
		method table.Balancing
		most   int
	}{"peak ewma": {table.PeakEWMA, 1500}, "least request": {table.LeastRequest, 6000}} {
		if got := simulate(t, tc.method, slow, 4); got[0] > tc.most {
			t.Errorf("%s: the slow endpoint got %d of 60000, want at most %d (%v)", name, got[0], tc.most, got)
		}
	}
	if got := simulate(t, table.RoundRobin, slow, 4); got[0] != 15_000 {
		t.Errorf("round robin: the slow endpoint got %d of 60000, want 15000", got[0])
	}
}

func TestR1_FastFailingEndpointAttractsNothing(t *testing.T) {
	got := simulate(t, table.PeakEWMA, func(i int) (time.Duration, bool) {
		if i == 0 {
			return 100 * time.Microsecond, true
		}
		return 5 * time.Millisecond, false
	}, 3)
	if got[0] > 600 {
		t.Errorf("the failing endpoint got %d of 60000, want under one percent (%v)", got[0], got)
	}
}

func TestR1_EndpointThatComesBackIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, set := newBalancer(9), newSet(2)
		call := func(down bool) (first bool) {
			c, _ := b.Pick(set, table.PeakEWMA, port, nil)
			first = c.Endpoint == set.Endpoints[0]
			c.Done(Outcome{Latency: time.Millisecond, Failed: first && down, ConnectFailed: first && down})
			time.Sleep(time.Millisecond)
			return first
		}
		failures := 0
		for range 5000 {
			if call(true) {
				failures++
			}
		}
		if failures > 4 {
			t.Errorf("%d requests to an endpoint that was down for 5 s", failures)
		}
		got := 0
		for range 6000 {
			if call(false) {
				got++
			}
		}
		if got < 500 {
			t.Errorf("the endpoint got %d of 6000 requests after it had come back", got)
		}
	})
}
