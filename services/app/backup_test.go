package app_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap/zaptest"

	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/selfid/selfidtest"
)

// An embedded store is backed up while its process runs and while none does, and restored only while none does.
func TestSnapshotAndRestoreOfAnEmbeddedStore(t *testing.T) {
	s := settings(t)
	s.Store.Kind = app.StoreEmbed
	log := zaptest.NewLogger(t)
	policy := &fake{}
	r := start(t, s, issuing(policy.build(app.Policy), selfidtest.New(t)))
	put := func(value string) {
		t.Helper()
		if _, err := policy.env.Store.Put(t.Context(), "routes/default/a", []byte(value), kv.Always()); err != nil {
			t.Fatal(err)
		}
	}
	put("before")
	live, err := app.Snapshot(t.Context(), s, log)
	if err != nil {
		t.Fatal(err)
	}
	if len(live.Entries) != 1 || live.Entries[0].Key != app.StorePrefix(app.Policy)+"routes/default/a" || string(live.Entries[0].Value) != "before" {
		t.Errorf("live snapshot: %+v", live)
	}
	put("after")
	if err := app.Vacant(t.Context(), s, true, log); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Vacant under a running process: %v", err)
	}
	if err := app.RestoreStore(t.Context(), s, live.Entries, true, ".old", log); err == nil {
		t.Error("the store of a running process was restored")
	}
	epoch, err := policy.env.Store.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.wait(); err != nil {
		t.Fatalf("Run = %v, want nil", err)
	}

	offline, err := app.Snapshot(context.WithoutCancel(t.Context()), s, log)
	if err != nil || len(offline.Entries) != 1 || string(offline.Entries[0].Value) != "after" || offline.Epoch != epoch {
		t.Errorf("snapshot of the files: %+v, %v", offline, err)
	}
	if err := app.Vacant(t.Context(), s, false, log); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("Vacant without force: %v", err)
	}
	if err := app.Vacant(t.Context(), s, true, log); err != nil {
		t.Errorf("Vacant with force: %v", err)
	}
	if err := app.RestoreStore(t.Context(), s, live.Entries, true, ".old", log); err != nil {
		t.Fatal(err)
	}
	start(t, s, issuing(policy.build(app.Policy), selfidtest.New(t)))
	e, err := policy.env.Store.Get(t.Context(), "routes/default/a")
	if err != nil || string(e.Value) != "before" {
		t.Errorf("after the restore: %q, %v", e.Value, err)
	}
	if now, err := policy.env.Store.Epoch(t.Context()); err != nil || now == epoch {
		t.Errorf("epoch %q, %v: want another one than %q", now, err, epoch)
	}
	entries, _, err := policy.env.Store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Key, "peers/") {
			keys = append(keys, e.Key)
		}
	}
	if diff := cmp.Diff([]string{"routes/default/a"}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}
