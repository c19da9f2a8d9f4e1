package svid

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/internal/testca"
)

// announced runs a watch for the whole life of an SVID, from start on, and returns how much was left at each line.
func announced(t *testing.T, life time.Duration, start time.Duration, renewed bool) (left []time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		ca := testca.New(t, "weft.local")
		core, logs := observer.New(zap.WarnLevel)
		m := &Manager{log: zap.New(core), source: ca.Source(t, shop, testca.ValidFor(life))}
		m.renewAt = halfLife(m.source.Load())
		end := m.Expiry()
		time.Sleep(start)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.watch(ctx) }()
		if renewed {
			time.Sleep(time.Until(end.Add(-life / 4).Add(time.Second)))
			m.mu.Lock()
			next := ca.SVID(t, shop, testca.ValidFor(10*life))
			m.renewAt = halfLife(next)
			m.mu.Unlock()
			m.source.Set(next)
		}
		time.Sleep(time.Until(end.Add(time.Hour)))
		cancel()
		<-done
		for _, entry := range logs.All() {
			left = append(left, end.Sub(entry.Time))
		}
	})
	return left
}

// TestE7_EndOfAnSVIDIsAnnounced: a sidecar that is not renewed says so early, more than once, and not often.
func TestE7_EndOfAnSVIDIsAnnounced(t *testing.T) {
	for _, tt := range []struct {
		name        string
		life, start time.Duration
		renewed     bool
		want        []time.Duration
	}{
		{"two days", 48 * time.Hour, 0, false, []time.Duration{12 * time.Hour, 6 * time.Hour, time.Hour, 10 * time.Minute, 0}},
		{"an hour", time.Hour, 0, false, []time.Duration{15 * time.Minute, 7*time.Minute + 30*time.Second, 0}},
		{"started late", 48 * time.Hour, 43 * time.Hour, false, []time.Duration{5 * time.Hour, time.Hour, 10 * time.Minute, 0}},
		{"renewed in time", 48 * time.Hour, 0, true, []time.Duration{12 * time.Hour}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := announced(t, tt.life, tt.start, tt.renewed)
			for i := range got {
				got[i] = got[i].Round(time.Second) // certificates know no smaller unit
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
