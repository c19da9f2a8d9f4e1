package kv_test

import (
	"context"
	"errors"
	"testing"

	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/kvtest"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

// scopedStore is a part of a store that can still be compacted, as the suite wants.
type scopedStore struct {
	kv.Store
	whole *memkv.Store
}

func (s scopedStore) Compact(ctx context.Context, revision int64) error {
	return s.whole.Compact(ctx, revision)
}

func TestScopedConforms(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kvtest.Store {
		whole := memkv.New()
		t.Cleanup(func() { _ = whole.Close() })
		return scopedStore{kv.Scoped(whole, "/weft/policy/v1/"), whole}
	})
}

func TestScopedSeesNothingElse(t *testing.T) {
	whole := memkv.New()
	t.Cleanup(func() { _ = whole.Close() })
	mine, other := kv.Scoped(whole, "/weft/policy/v1/"), kv.Scoped(whole, "/weft/identity/v1/")
	if _, err := other.Put(t.Context(), "roots/a", []byte("x"), kv.Always()); err != nil {
		t.Fatal(err)
	}
	if _, err := mine.Get(t.Context(), "roots/a"); !errors.Is(err, kv.ErrNotFound) {
		t.Errorf("another service's key: %v, want %v", err, kv.ErrNotFound)
	}
	if entries, _, err := mine.List(t.Context(), ""); err != nil || len(entries) != 0 {
		t.Errorf("list = %v, %v, want nothing", entries, err)
	}
	if _, err := whole.Get(t.Context(), "/weft/identity/v1/roots/a"); err != nil {
		t.Errorf("the key is not where it belongs: %v", err)
	}
}
