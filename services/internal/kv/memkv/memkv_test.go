package memkv_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/kvtest"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

func TestConformance(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kvtest.Store {
		s := memkv.New()
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}

func TestFailNext(t *testing.T) {
	s := memkv.New()
	boom := errors.New("boom")
	s.FailNext(boom)
	if _, err := s.Put(t.Context(), "a", nil, kv.Always()); !errors.Is(err, boom) {
		t.Errorf("first Put = %v, want %v", err, boom)
	}
	if _, err := s.Put(t.Context(), "a", nil, kv.Always()); err != nil {
		t.Errorf("second Put = %v, want nil", err)
	}
}

func TestCloseEndsWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memkv.New()
		w, err := s.Watch(t.Context(), "", 1)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Second)
			_ = s.Close()
		}()
		if _, err := w.Next(); !errors.Is(err, kv.ErrClosed) {
			t.Errorf("Next = %v, want %v", err, kv.ErrClosed)
		}
	})
}
