package outbound

import (
	"context"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/egress"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// sweepEvery is how often idle connections are looked at.
const sweepEvery = 5 * time.Second

// follow lets the registries follow the table.
func (s *Server) follow(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	mode := table.Strict
	var outside *table.Egress
	for {
		changed := s.cfg.Tables.Changed()
		if t := s.cfg.Tables.Load(); t != nil {
			s.budget.Set(t.Mesh.Retry.Percent, t.Mesh.Retry.MinPerSecond)
			s.cfg.Health.Reconcile(t)
			if t.Egress != outside || t.Mesh.MTLS != mode {
				outside = t.Egress
				s.streams.recheck(egress.Of(t))
			}
			if t.Mesh.MTLS != mode {
				// Connections of another mode may be plaintext where that is no longer allowed.
				mode = t.Mesh.MTLS
				s.pool.Close()
				s.h2.Retire()
			}
			keys := endpoints(t)
			s.pool.Retain(func(key string) bool { return keys[key] })
			s.packets.Follow(mode, func(key string) bool { return keys[key] }, s.stillOutside)
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return nil
			case now := <-ticker.C:
				s.pool.Sweep(now)
			case <-changed:
				waiting = false
			}
		}
	}
}

// endpoints are the keys of all that the table can lead to.
func endpoints(t *table.Table) map[string]bool {
	keys := map[string]bool{}
	for set := range t.Sets() {
		for _, ep := range set.Endpoints {
			keys[ep.Key] = true
		}
	}
	return keys
}
