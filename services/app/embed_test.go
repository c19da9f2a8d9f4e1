package app_test

import (
	"testing"

	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/selfid/selfidtest"
)

func TestEmbeddedStoreKeepsStateOverARestart(t *testing.T) {
	s := settings(t)
	s.Store.Kind = app.StoreEmbed
	policy := &fake{}
	r := start(t, s, issuing(policy.build(app.Policy), selfidtest.New(t)))
	if _, err := policy.env.Store.Put(t.Context(), "routes/default/a", []byte("x"), kv.Always()); err != nil {
		t.Fatal(err)
	}
	if err := r.wait(); err != nil {
		t.Fatalf("Run = %v, want nil", err)
	}
	start(t, s, issuing(policy.build(app.Policy), selfidtest.New(t)))
	if e, err := policy.env.Store.Get(t.Context(), "routes/default/a"); err != nil || string(e.Value) != "x" {
		t.Errorf("value after a restart = %q, %v", e.Value, err)
	}
}
