package limit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/proxy/internal/limit"
)

func retries(b *limit.Budget) (n int) {
	for b.Retry() {
		n++
	}
	return n
}

func TestR4_BudgetBoundsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limit.NewBudget(20, 10)
		if got := retries(b); got != 10 {
			t.Errorf("at start: %d retries, want 10", got)
		}
		for range 100 {
			b.Request()
		}
		if got := retries(b); got != 20 {
			t.Errorf("after 100 requests: %d retries, want 20", got)
		}
		time.Sleep(500 * time.Millisecond)
		if got := retries(b); got != 5 {
			t.Errorf("after half a second: %d retries, want 5", got)
		}
		time.Sleep(time.Hour)
		if got := retries(b); got != 10 {
			t.Errorf("after an hour: %d retries, want one second's worth", got)
		}
		for range 100_000 {
			b.Request()
		}
		if got := retries(b); got != 100 {
			t.Errorf("after a flood: %d retries, want the savings' cap", got)
		}
	})
}

func TestBudgetOfNothing(t *testing.T) {
	b := limit.NewBudget(0, 0)
	b.Request()
	if b.Retry() {
		t.Error("a budget of nothing allows a retry")
	}
	b.Set(100, 0)
	b.Request()
	if !b.Retry() || b.Retry() {
		t.Error("a budget of 100 % does not allow exactly one retry for one request")
	}
}

// TestR4_BudgetHoldsOverAnyHistory checks the promise itself: never more than the share of the requests plus the allowance.
func TestR4_BudgetHoldsOverAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		percent := rapid.Uint32Range(0, 100).Draw(rt, "percent")
		perSecond := rapid.Uint32Range(0, 20).Draw(rt, "per second")
		steps := rapid.SliceOfN(rapid.IntRange(0, 2), 1, 200).Draw(rt, "steps")
		synctest.Test(t, func(*testing.T) {
			b := limit.NewBudget(percent, perSecond)
			start := time.Now()
			requests, allowed := 0, 0
			for _, step := range steps {
				switch step {
				case 0:
					b.Request()
					requests++
				case 1:
					if b.Retry() {
						allowed++
					}
				case 2:
					time.Sleep(100 * time.Millisecond)
				}
				most := float64(requests)*float64(percent)/100 + float64(perSecond)*(1+time.Since(start).Seconds())
				if float64(allowed) > most {
					rt.Fatalf("%d retries, at most %.2f are promised", allowed, most)
				}
			}
		})
	})
}
