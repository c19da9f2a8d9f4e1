package discovery

import (
	"testing"

	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/state"
)

// A restored store counts from below: what happens there must not look older than what a session stored in the store before.
func TestRestoredStoreEndsSessionsThatLostTheirWorkload(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := settled(r, "a")
		d.service("reviews", "reviews")
		d.connect("reviews", workload("reviews-1", "reviews"))
		key := model.Key{Namespace: "default", Name: "reviews-1"}
		d.leases.mu.Lock()
		s := d.leases.sessions[key]
		s.revision = 1_000_000
		d.leases.mu.Unlock()
		elsewhere := state.Change{Kind: model.KindWorkload, Key: key, Object: model.Workload{LeaseHolder: "b"}, Revision: 12}
		d.leases.observe(elsewhere)
		if d.leases.sessions[key] != s {
			t.Fatal("an older change of the same store ended the session")
		}
		d.leases.otherStore()
		d.leases.observe(elsewhere)
		if d.leases.sessions[key] != nil {
			t.Error("the session goes on although the workload is registered elsewhere")
		}
	})
}
