package lifecycle_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/lifecycle"
)

// journal is what parts write down when they end.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

// part runs until its context ends, takes a while to stop, and writes it down.
func (j *journal) part(name string, result error) lifecycle.Run {
	return func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(time.Second)
		j.add(name)
		return result
	}
}

func TestStopsInReverseOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		var g lifecycle.Group
		for _, name := range []string{"store", "service", "server"} {
			g.Add(name, j.part(name, nil))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if diff := cmp.Diff([]string{"server", "service", "store"}, j.lines); diff != "" {
			t.Errorf("order of stopping (-want +got):\n%s", diff)
		}
	})
}

func TestFirstFailureStopsAll(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name string
		run  lifecycle.Run
		want []string
	}{
		{"error", func(context.Context) error { return boom }, []string{"middle: boom"}},
		{"panic", func(context.Context) error { panic("oops") }, []string{"middle: panic: oops", "group_test.go"}},
		{"early return", func(context.Context) error { return nil }, nil},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j journal
				var g lifecycle.Group
				g.Add("first", j.part("first", nil))
				g.Add("middle", tc.run)
				g.Add("last", j.part("last", errors.New("late")))
				err := g.Run(t.Context())
				for _, want := range append(tc.want, "last: late") {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("Run = %v, want it to contain %q", err, want)
					}
				}
				if diff := cmp.Diff([]string{"last", "first"}, j.lines); diff != "" {
					t.Errorf("order of stopping (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestContextErrorsAreNoFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g lifecycle.Group
		g.Add("part", func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.Run(ctx); err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}
