package state

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

// What a restore takes and gives back is in the log, by name: it may be who is allowed to do what.
func TestRestoredStoreIsTold(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	store := &restorable{now: memkv.New()}
	feed := NewFeed(store, FeedConfig{Log: zap.New(core)}, things().Mirror())
	load := func() {
		t.Helper()
		epoch, err := store.Epoch(t.Context())
		if err == nil {
			err = feed.load(context.WithoutCancel(t.Context()), epoch)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c := NewCollection[thing](store, things())
	for _, name := range []string{"a", "b"} {
		must(c.Create(t.Context(), named("default", name, "x")))(t)
	}
	entries, _, err := store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	must(c.Delete(t.Context(), key("b"), ""))(t)
	must(c.Create(t.Context(), named("default", "c", "x")))(t)
	load()
	load()
	if n := logs.Len(); n != 0 {
		t.Errorf("%d warnings although it is one store", n)
	}
	next := memkv.New()
	for _, e := range entries {
		must(next.Put(t.Context(), e.Key, e.Value, kv.Always()))(t)
	}
	store.now = next
	load()
	if logs.Len() != 1 {
		t.Fatalf("%d warnings after a restore, want 1", logs.Len())
	}
	fields := logs.All()[0].ContextMap()
	thing := things().Name + " default/"
	got := map[string]any{"lost": fields["lost"], "returned": fields["returned"]}
	if diff := cmp.Diff(map[string]any{"lost": []any{thing + "c"}, "returned": []any{thing + "b"}}, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}
