package backoff

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestCeilingDoublesUpToTheLimit(t *testing.T) {
	largest := func(n int64) int64 { return n - 1 }
	b := NewRand(100*time.Millisecond, time.Second, largest)
	want := []time.Duration{100, 200, 400, 800, 1000, 1000}
	for i, w := range want {
		if got := b.Next(); got != w*time.Millisecond {
			t.Errorf("delay %d: want %v, got %v", i, w*time.Millisecond, got)
		}
	}
	b.Reset()
	if got := b.Next(); got != 100*time.Millisecond {
		t.Errorf("after Reset: want 100ms, got %v", got)
	}
}

func TestDelayIsNeverNegativeNorAboveTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := time.Duration(rapid.Int64Range(-5, int64(time.Hour)).Draw(t, "base"))
		limit := time.Duration(rapid.Int64Range(-5, int64(1000*time.Hour)).Draw(t, "limit"))
		b := New(base, limit)
		for range 40 {
			if d := b.Next(); d < 0 || d > max(base, limit, 1) {
				t.Fatalf("delay %v outside [0, %v]", d, max(base, limit, 1))
			}
		}
	})
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewRand(time.Minute, time.Minute, func(n int64) int64 { return n - 1 })
		start := time.Now()
		if err := b.Wait(t.Context()); err != nil {
			t.Fatalf("Wait: %v", err)
		}
		if got := time.Since(start); got != time.Minute {
			t.Errorf("waited: want 1m, got %v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait with an ended context: want %v, got %v", context.Canceled, err)
		}
	})
}
