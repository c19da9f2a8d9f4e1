package distributor

import "testing"

// TestMemoryIsGivenBackOnceAfterABurst: not while streams still open, not for a few, and not again for nothing.
func TestMemoryIsGivenBackOnceAfterABurst(t *testing.T) {
	released := 0
	tr := &trimmer{release: func() { released++ }}
	for i, step := range []struct {
		open int64
		want int
	}{{trimAfter, 0}, {1, 0}, {0, 1}, {0, 1}, {trimAfter - 1, 1}, {0, 1}, {1, 1}, {0, 2}} {
		tr.opened.Add(step.open)
		tr.look()
		if released != step.want {
			t.Errorf("step %d: given back %d times, want %d", i, released, step.want)
		}
	}
}
