package compile_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/distributor/compile/compiletest"
)

// BenchmarkEndpointChange is what one workload that moves costs in a mesh of 2,000 services and 10,000 workloads.
func BenchmarkEndpointChange(b *testing.B) {
	var text strings.Builder
	for i := range 2_000 {
		fmt.Fprintf(&text, "service x/s%d accounts=a ports=80\n", i)
	}
	for i := range 10_000 {
		fmt.Fprintf(&text, "workload x/w%d account=a services=s%d address=10.0.0.1 mesh=15008 ports=80\n", i, i%2_000)
	}
	w := compiletest.World(b, text.String())
	state := compile.Next(nil, w)
	i := 0
	for b.Loop() {
		i++
		moved := *w.Workloads[compiletest.Key("x/w7")]
		moved.Address = netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		now := *w
		now.Workloads = set(w.Workloads, moved.Key, false, &moved)
		before := state
		state = compile.Next(state, &now)
		if compile.Diff(before, state).Empty() {
			b.Fatal("nothing changed")
		}
		w = &now
	}
}
