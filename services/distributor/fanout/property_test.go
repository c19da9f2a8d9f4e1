package fanout_test

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/distributor/compile/compiletest"
	"github.com/weft-mesh/weft/services/distributor/fanout/fanouttest"
)

// pieces of a world; any subset of them is one.
var pieces = []string{
	"service x/a accounts=a ports=80",
	"service x/b accounts=b ports=80",
	"service x/c accounts=c",
	"workload x/a-1 account=a services=a address=10.0.0.1 mesh=15008 ports=80",
	"workload x/b-1 account=b services=b address=10.0.0.2 mesh=15008 ports=80",
	"workload x/me account=me services=c address=10.0.0.3 mesh=15008 ports=80",
	"route x/a service=a\nrule backends=a,b",
	"route x/b service=b\nrule backends=c,none",
	"policy x/me account=me\nallow from=a",
	"mesh access=deny",
	"workload x/a-2 account=a services=a address=10.0.0.2 mesh=15009 ports=80",
	"external x/pay hosts=pay.example ports=443",
}

// TestSidecarEndsUpWithWhatTheWorldSays takes a sidecar through changes, subscriptions, refusals to answer and moves between
// two replicas, in any order. In the end it holds exactly what was compiled; on the way it checks the contract.
func TestSidecarEndsUpWithWhatTheWorldSays(t *testing.T) {
	ca := testca.New(t, "weft.local")
	replicas := []*replica{newReplica(t, ca, config(), 1), newReplica(t, ca, config(), 1)}
	conns := []grpc.ClientConnInterface{replicas[0].conn("x/me"), replicas[1].conn("x/me")}
	seq := uint64(0)
	publish := func(text string) {
		seq++
		for _, r := range replicas {
			r.publish(at(seq, seq), text)
		}
	}
	publish("")
	rapid.Check(t, func(rt *rapid.T) {
		s := fanouttest.New(t, "x", "me")
		s.Connect(conns[0])
		names, places := map[string]bool{}, map[string]bool{}
		for range rapid.IntRange(0, 12).Draw(rt, "steps") {
			name := rapid.SampledFrom([]string{"x/a", "x/b", "x/c", "x/none"}).Draw(rt, "service")
			place := rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "192.0.2.1"}).Draw(rt, "address")
			switch rapid.IntRange(0, 7).Draw(rt, "step") {
			case 4:
				s.Ask([]string{place}, nil)
				places[place] = true
			case 5:
				s.Ask(nil, []string{place})
				delete(places, place)
			case 0:
				s.Subscribe([]string{name}, nil)
				names[name] = true
			case 1:
				s.Subscribe(nil, []string{name})
				delete(names, name)
			case 2:
				s.Silence(rapid.Bool().Draw(rt, "silent"))
			case 3:
				s.Disconnect()
				s.Silence(false)
				s.Connect(conns[rapid.IntRange(0, 1).Draw(rt, "replica")])
			default:
				publish(strings.Join(rapid.SliceOfDistinct(rapid.SampledFrom(pieces), rapid.ID).Draw(rt, "world"), "\n"))
			}
		}
		s.Silence(false)
		want := wanted(replicas[0].state, names, places)
		s.Until(fmt.Sprint("state ", want), func(v fanouttest.View) bool {
			got := map[string]string{}
			for name, r := range v.Held {
				got[name] = r.GetVersion()
			}
			return maps.Equal(want, got)
		})
		s.Disconnect()
	})
}

// wanted is what the sidecar x/me should hold.
func wanted(state *compile.State, services, places map[string]bool) map[string]string {
	account := compile.Account{Namespace: "x", Name: "me"}
	out := map[string]string{}
	for _, r := range []*compile.Resource{
		state.Mesh(), state.Bundle(), state.Egress(), state.Access(account), state.Inbound(compiletest.Key("x/me"), "me"),
	} {
		out[r.Name] = r.Version
	}
	for name := range services {
		for _, r := range state.Closure(compiletest.Key(name)) {
			out[r.Name] = r.Version
		}
	}
	for a := range places {
		r := state.Address(netip.MustParseAddr(a))
		out[r.Name] = r.Version
	}
	return out
}
