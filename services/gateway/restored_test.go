package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

// A restore may allow again what was revoked: people who look at the mesh are told, for a while.
func TestRestoredStoreIsAFinding(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	store := memkv.New()
	s := &Service{deps: Deps{Store: store}}
	if got := s.restored(t.Context(), now); len(got) != 0 {
		t.Errorf("a store that was never restored: %v", got)
	}
	key, value, err := RestoredNote(Restored{Time: now, Taken: now.Add(-time.Hour), Revision: 4, Epoch: "e"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), key, value, kv.Always()); err != nil {
		t.Fatal(err)
	}
	got := s.restored(t.Context(), now.Add(time.Minute))
	if len(got) != 1 || !strings.Contains(got[0].GetMessage(), "from a backup of 2026-03-01T11:00:00Z") || got[0].GetRemedy() == "" {
		t.Errorf("findings: %v", got)
	}
	if got := s.restored(t.Context(), now.Add(8*24*time.Hour)); len(got) != 0 {
		t.Errorf("after a week: %v", got)
	}
}
