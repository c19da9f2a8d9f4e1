package discovery

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
)

// settled is a replica that has run for longer than it waits after a start.
func settled(r *rig, name string) *replica {
	d := r.start(name)
	pass(time.Minute)
	return d
}

func TestBrokenStreamBecomesUnknownAfterTheLease(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := settled(r, "a")
		d.service("reviews", "reviews")
		s := d.connect("reviews", workload("reviews-1", "reviews")).beat()
		pass(time.Hour)
		if got := d.state("reviews-1"); got != ready {
			t.Fatalf("with heartbeats: want READY, got %v", got)
		}
		s.hangUp()
		pass(9 * time.Second)
		if got := d.state("reviews-1"); got != ready {
			t.Errorf("before the lease has run out: want READY, got %v", got)
		}
		pass(3 * time.Second)
		if got := d.state("reviews-1"); got != unknown {
			t.Errorf("after it: want UNKNOWN, got %v", got)
		}
		if diff := cmp.Diff([]string{"reviews-1"}, d.endpoints("reviews")); diff != "" {
			t.Errorf("it must be kept (-want +got):\n%s", diff)
		}
		d.connect("reviews", workload("reviews-1", "reviews"))
		if got := d.state("reviews-1"); got != ready {
			t.Errorf("when it is back: want READY, got %v", got)
		}
	})
}

func TestSilentStreamBecomesUnknown(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := settled(r, "a")
		s := d.connect("reviews", workload("reviews-1"))
		pass(9 * time.Second)
		if s.ended() || d.state("reviews-1") != ready {
			t.Error("too early")
		}
		pass(3 * time.Second)
		if !s.ended() || d.state("reviews-1") != unknown {
			t.Fatalf("want the stream ended and UNKNOWN, got %v", d.state("reviews-1"))
		}
		wantFault(t, s.err, fault.Unavailable, "no heartbeat")
	})
}

func TestAnotherReplicaTakesOver(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := settled(r, "a"), settled(r, "b")
		first := a.connect("reviews", workload("reviews-1")).beat()
		second := b.connect("reviews", workload("reviews-1")).beat()
		pass(time.Minute)
		if !first.ended() || second.ended() {
			t.Error("want the older stream ended and the newer one alive")
		}
		w := a.workload("reviews-1")
		if w.GetStatus().GetLeaseHolder() != "b" || w.GetStatus().GetState() != ready {
			t.Errorf("want READY at b, got %v", w.GetStatus())
		}
	})
}

func TestSurvivorsMarkTheWorkloadsOfADeadReplica(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := settled(r, "a"), settled(r, "b")
		lost, back := a.connect("x", workload("lost")).beat(), a.connect("y", workload("back")).beat()
		a.kill()
		lost.hangUp()
		back.hangUp()
		pass(12 * time.Second)
		b.connect("y", workload("back")).beat()
		if got := b.state("lost"); got != ready {
			t.Errorf("before lease and reconnect time: want READY, got %v", got)
		}
		pass(6 * time.Second)
		if got := b.state("lost"); got != unknown {
			t.Errorf("after it: want UNKNOWN, got %v", got)
		}
		if got := b.state("back"); got != ready {
			t.Errorf("reconnected: want READY, got %v", got)
		}
	})
}

// All replicas are away for longer than a lease: nothing is emptied, neither while they are away nor right after.
func TestNothingExpiresAfterAStart(t *testing.T) {
	inBubble(t, func(r *rig) {
		a := settled(r, "a")
		a.service("reviews", "reviews")
		s := a.connect("reviews", workload("reviews-1", "reviews")).beat()
		a.kill()
		s.hangUp()
		pass(time.Hour)
		b := r.start("b")
		for range 14 {
			pass(time.Second)
			if got := b.state("reviews-1"); got != ready {
				t.Fatalf("want READY, got %v", got)
			}
		}
		pass(3 * time.Second)
		if got := b.state("reviews-1"); got != unknown {
			t.Errorf("nobody came back: want UNKNOWN, got %v", got)
		}
		pass(time.Hour)
		if diff := cmp.Diff([]string{"reviews-1"}, b.endpoints("reviews")); diff != "" {
			t.Errorf("UNKNOWN must be kept (-want +got):\n%s", diff)
		}
	})
}

// A workload that was marked although its stream is alive (its replica had lost the store) becomes READY by itself.
func TestMarkIsTakenBack(t *testing.T) {
	inBubble(t, func(r *rig) {
		a := settled(r, "a")
		a.connect("x", workload("w")).beat()
		b := settled(r, "b")
		r.mu.Lock()
		r.live = []string{"b"} // a's peer key has vanished
		r.mu.Unlock()
		pass(20 * time.Second)
		if got := a.state("w"); got != ready {
			t.Errorf("want READY again at once, got %v", got)
		}
		if got := testutil.ToFloat64(b.metrics.expired); got != 1 {
			t.Errorf("b must have marked it once, got %v", got)
		}
	})
}

func TestSuddenLossIsHeldAndAlarmed(t *testing.T) {
	for _, tc := range []struct {
		instances, lost int
		held            bool
	}{{1, 1, false}, {2, 1, false}, {2, 2, true}, {4, 2, false}, {4, 3, true}, {5, 5, true}} {
		t.Run(fmt.Sprintf("%d of %d", tc.lost, tc.instances), func(t *testing.T) {
			inBubble(t, func(r *rig) {
				d := settled(r, "a")
				d.service("reviews", "reviews")
				var cars []*sidecar
				for i := range tc.instances {
					cars = append(cars, d.connect("reviews", workload(fmt.Sprintf("r%d", i), "reviews")).beat())
				}
				for _, c := range cars[:tc.lost] {
					c.hangUp()
				}
				pass(time.Minute)
				want, held := unknown, 0.0
				if tc.held {
					want, held = ready, float64(tc.lost)
				}
				for i := range tc.lost {
					if got := d.state(fmt.Sprintf("r%d", i)); got != want {
						t.Errorf("r%d: want %v, got %v", i, want, got)
					}
				}
				if got := testutil.ToFloat64(d.metrics.held); got != held {
					t.Errorf("alarm: want %v, got %v", held, got)
				}
			})
		})
	}
}

// What is deregistered is not lost; and when enough return, the rest expires.
func TestHeldLossEnds(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := settled(r, "a")
		d.service("reviews", "reviews")
		var cars []*sidecar
		for i := range 4 {
			cars = append(cars, d.connect("reviews", workload(fmt.Sprintf("r%d", i), "reviews")).beat())
		}
		for _, c := range cars[:3] {
			c.hangUp()
		}
		pass(time.Minute)
		if got := testutil.ToFloat64(d.metrics.held); got != 3 {
			t.Fatalf("want 3 held, got %v", got)
		}
		d.connect("reviews", workload("r0", "reviews")).beat()
		if _, err := d.Deregister(as(t.Context(), "reviews"), &discoverypb.DeregisterRequest{Name: "r1"}); err != nil {
			t.Fatal(err)
		}
		pass(3 * time.Second)
		if got := testutil.ToFloat64(d.metrics.held); got != 0 || d.state("r2") != unknown || d.state("r0") != ready {
			t.Errorf("want r2 alone UNKNOWN and no alarm, got %v held, r2 %v", got, d.state("r2"))
		}
	})
}
