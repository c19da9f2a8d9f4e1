package main

import (
	"os"
	"reflect"
	"testing"

	"github.com/weft-mesh/weft/integration/bench/sim"
)

func TestTopologyIsWhatTheTableSays(t *testing.T) {
	for _, n := range []int{20, 1000, 2500} {
		top := newTopology(n)
		if again := newTopology(n); !reflect.DeepEqual(top, again) {
			t.Fatalf("%d sidecars: two runs differ", n)
		}
		if len(top.sidecars) != n || len(top.services) != min(n, maxServices) || top.callers[top.common()] != n {
			t.Errorf("%d sidecars: %d, of %d services, %d call the common one", n, len(top.sidecars), len(top.services), top.callers[top.common()])
		}
		names, addresses := map[string]bool{}, map[string]bool{}
		for _, s := range top.sidecars {
			wants := map[string]bool{}
			for _, w := range s.Wants {
				wants[w] = true
			}
			if len(wants) != wanted || s.Wants[0] != sim.Namespace+"/"+top.common() {
				t.Errorf("%s wants %v", s.Name, s.Wants)
			}
			names[s.Name], addresses[s.Address] = true, true
		}
		if len(names) != n || len(addresses) != n {
			t.Errorf("%d sidecars have %d names and %d addresses", n, len(names), len(addresses))
		}
		b := &bench{top: top}
		if got, want := b.unpoliced(), n-(n+policed-2)/policed; n <= maxServices && got != want {
			t.Errorf("%d of %d sidecars have no policy, want %d", got, n, want)
		}
	}
}

func TestProcessesAreMeasured(t *testing.T) {
	if kib, err := anonOf(os.Getpid()); err != nil || kib <= 0 {
		t.Errorf("RssAnon is %d: %v", kib, err)
	}
	if spent, err := cpuOf(os.Getpid()); err != nil || spent < 0 {
		t.Errorf("CPU time is %v: %v", spent, err)
	}
	if _, err := cpuOf(-1); err == nil {
		t.Error("there is a process -1")
	}
}

func TestPercentiles(t *testing.T) {
	list := make([]int64, 0, 100)
	for i := range 100 {
		list = append(list, int64(i+1)*1e6)
	}
	if p50, p99, all := percentile(list, .5), percentile(list, .99), percentile(list, 1); p50 != 51 || p99 != 100 || all != 100 {
		t.Errorf("p50 %v, p99 %v, max %v", p50, p99, all)
	}
	if percentile(nil, .5) != 0 {
		t.Error("nothing has a percentile")
	}
}
