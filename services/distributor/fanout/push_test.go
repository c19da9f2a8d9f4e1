package fanout_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/distributor/compile/compiletest"
	"github.com/weft-mesh/weft/services/distributor/fanout"
	"github.com/weft-mesh/weft/services/distributor/fanout/fanouttest"
)

// counter keeps what was sent.
type counter struct {
	nobody
	mu   sync.Mutex
	sent []fanout.Sent
}

func (c *counter) UpdateSent(s fanout.Sent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, s)
}

// take returns what was sent since the last call.
func (c *counter) take() []fanout.Sent {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.sent
	c.sent = nil
	return out
}

// services of which a sidecar calls some.
const services = 6

// endpoints is a world of services with the workloads that are named, each with the build that it runs.
func endpoints(builds map[string]int) string {
	var b strings.Builder
	for i := range services {
		fmt.Fprintf(&b, "service x/s%d accounts=a ports=80:http\n", i)
	}
	for name, build := range builds {
		service, _, _ := strings.Cut(name, "-")
		fmt.Fprintf(&b, "workload x/%s account=a services=%s address=10.0.0.%d mesh=15008 ports=8080\n", name, service, build)
	}
	return b.String()
}

// TestEndpointChangeIsNeverAFullPush changes, adds and removes endpoints at random: a sidecar is sent the endpoints of the
// services that changed and that it calls, and nothing else; whoever calls none of them is sent nothing. A sidecar that comes
// back with what it holds is sent nothing either.
func TestEndpointChangeIsNeverAFullPush(t *testing.T) {
	ca := testca.New(t, "weft.local")
	seen := &counter{}
	r := newReplicaObserved(t, ca, config(), 1, seen)
	conn := r.conn("x/me")
	seq := uint64(0)
	rapid.Check(t, func(rt *rapid.T) {
		builds := map[string]int{"s0-1": 1, "s1-1": 1}
		publish := func() {
			seq++
			r.publish(at(1, seq), endpoints(builds))
		}
		publish()
		calls := rapid.SliceOfNDistinct(rapid.IntRange(0, services-1), 1, services, rapid.ID).Draw(rt, "calls")
		var names []string
		for _, i := range calls {
			names = append(names, fmt.Sprintf("x/s%d", i))
		}
		s := fanouttest.New(t, "x", "me", names...)
		s.Connect(conn)
		s.Reached(at(1, seq))
		full := func(sent fanout.Sent) bool { return sent.Full && sent.Resources == 5+2*len(calls) }
		if first := seen.take(); !slices.ContainsFunc(first, full) {
			rt.Fatalf("a sidecar that comes with nothing was sent %+v", first)
		}
		for range rapid.IntRange(1, 8).Draw(rt, "changes") {
			service := rapid.IntRange(0, services-1).Draw(rt, "service")
			name := fmt.Sprintf("s%d-%d", service, rapid.IntRange(1, 2).Draw(rt, "workload"))
			if rapid.Bool().Draw(rt, "gone") {
				delete(builds, name)
			} else {
				builds[name]++
			}
			before := s.View()
			publish()
			s.Until(fmt.Sprint("endpoints of ", service), func(v fanouttest.View) bool {
				held := v.Held[fmt.Sprintf("endpoints/x/s%d", service)]
				return held == nil || held.GetVersion() == r.state.Endpoints(compiletest.Key(fmt.Sprint("x/s", service))).Version
			})
			for _, sent := range seen.take() {
				// The endpoints, and a line of the index when the service has got its first endpoint or lost its last.
				if sent.Full || sent.Resources > 1 {
					rt.Fatalf("one endpoint of s%d changed, and %+v was sent to a sidecar that held %v", service, sent, before.Names())
				}
			}
		}
		s.Disconnect()
		seen.take()
		s.Connect(conn)
		s.Until("in sync again", func(v fanouttest.View) bool { return v.Current })
		for _, sent := range seen.take() {
			if sent.Resources > 0 {
				rt.Fatalf("a sidecar that came back with all was sent %+v", sent)
			}
		}
		s.Disconnect()
		seen.take()
	})
}
