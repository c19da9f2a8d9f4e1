package intake_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft-mesh/weft/services/distributor/intake"
)

// TestWorldsLeaveTimeForTheirDelivery: where a world takes long and something changes all the time, more changes go together,
// so that most of the time is left for sidecars; a change that comes alone goes out at once. Time is that of the test's bubble.
func TestWorldsLeaveTimeForTheirDelivery(t *testing.T) {
	run(t, func(r *rig) {
		r.takes = 12 * time.Millisecond
		p, _, _ := r.begin()
		r.settled()
		first := len(r.begins)
		for seq := range uint64(100) {
			p.Send(policyStep(false, 11+seq, route(fmt.Sprint("r", seq), "web")))
			time.Sleep(5 * time.Millisecond) // longer than Quiet, shorter than a world
		}
		r.settled()
		for i := first + 1; i < len(r.begins); i++ {
			if apart := r.begins[i].Sub(r.begins[i-1]); apart < 3*r.takes {
				t.Fatalf("world %d began %v after the one before, which took %v", i, apart, r.takes)
			}
		}
		if n := len(r.worlds[len(r.worlds)-1].Routes); n != 101 {
			t.Errorf("%d routes in the last world, want all", n)
		}
		before := time.Now()
		p.Send(policyStep(false, 200, route("alone", "web")))
		r.settled()
		if late := r.begins[len(r.begins)-1].Sub(before); late != intake.Default().Quiet {
			t.Errorf("a change that came alone went out after %v", late)
		}
	})
}
