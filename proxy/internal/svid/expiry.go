package svid

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// warnings are the moments at which an SVID that should have been renewed is worth a line: when half and when a quarter of the
// time between its renewal and its end is left, an hour and ten minutes before the end, and the end. In order, each once.
func warnings(renewAt, end time.Time) []time.Time {
	grace := end.Sub(renewAt)
	if grace <= 0 {
		return []time.Time{end}
	}
	at := []time.Time{end.Add(-grace / 2), end.Add(-grace / 4), end}
	for _, before := range []time.Duration{time.Hour, 10 * time.Minute} {
		if before < grace/4 {
			at = append(at, end.Add(-before))
		}
	}
	slices.SortFunc(at, time.Time.Compare)
	return at
}

// watch warns of the end of the SVID until ctx ends. A sidecar that starts late says only the last of what it has missed.
func (m *Manager) watch(ctx context.Context) {
	said := 0
	var of *spiffe.Material
	for {
		changed := m.source.Changed()
		material := m.source.Load()
		if material == nil {
			return // Run has redeemed the token before
		}
		if of == nil || !of.Certificate.Leaf.Equal(material.Certificate.Leaf) {
			of, said = material, 0
		}
		m.mu.Lock()
		at := warnings(m.renewAt, material.NotAfter())
		m.mu.Unlock()
		due := said
		for due < len(at) && !at[due].After(time.Now()) {
			due++
		}
		if due > said {
			m.warn(material.NotAfter())
			said = due
		}
		var timer *time.Timer
		var next <-chan time.Time // nil, and so never, when all is said
		if said < len(at) {
			timer = time.NewTimer(time.Until(at[said]))
			next = timer.C
		}
		select {
		case <-next:
		case <-changed:
		case <-ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func (m *Manager) warn(end time.Time) {
	if left := time.Until(end); left > 0 {
		m.log.Warn("identity was not renewed and runs out: see whether the identity service is there and reached",
			zap.Duration("left", left.Round(time.Second)), zap.Time("not_after", end), zap.Strings("identity", m.stamp.Addresses.Identity))
		return
	}
	m.log.Error("identity has run out: nothing is sent or taken over mTLS until this sidecar is started with a new join token",
		zap.Time("not_after", end))
}
