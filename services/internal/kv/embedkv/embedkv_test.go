package embedkv_test

import (
	"strings"
	"testing"

	"go.uber.org/zap/zaptest"

	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/embedkv"
	"github.com/weft-mesh/weft/services/internal/kv/kvtest"
)

func open(t *testing.T, dir string) *embedkv.Store {
	t.Helper()
	s, err := embedkv.Open(t.Context(), embedkv.Config{Dir: dir, Log: zaptest.NewLogger(t), UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kvtest.Store {
		s := open(t, t.TempDir())
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		return s
	})
}

func TestReopens(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	rev, err := s.Put(t.Context(), "a", []byte("1"), kv.Always())
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := s.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	defer func() { _ = s.Close() }()
	if e, err := s.Get(t.Context(), "a"); err != nil || e.Revision != rev || string(e.Value) != "1" {
		t.Errorf("get after reopening = %+v, %v; want the value of revision %d", e, err, rev)
	}
	if got, err := s.Epoch(t.Context()); err != nil || got != epoch {
		t.Errorf("epoch after reopening = %q, %v; want %q", got, err, epoch)
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	defer func() { _ = s.Close() }()
	second, err := embedkv.Open(t.Context(), embedkv.Config{Dir: dir, Log: zaptest.NewLogger(t)})
	if err == nil {
		_ = second.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second Open = %v, want an error that says who has the directory", err)
	}
}

func TestNewStoreHasNewEpoch(t *testing.T) {
	a, b := open(t, t.TempDir()), open(t, t.TempDir())
	defer func() { _, _ = a.Close(), b.Close() }()
	ea, errA := a.Epoch(t.Context())
	eb, errB := b.Epoch(t.Context())
	if errA != nil || errB != nil || ea == eb {
		t.Errorf("epochs %q, %q (%v, %v), want two different ones", ea, eb, errA, errB)
	}
}
