package etcdkv_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
)

func keysOf(entries []kv.Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.Key+"="+string(e.Value))
	}
	return out
}

// hold keeps a key until the returned function is called.
func hold(t *testing.T, s kv.Store, key string) (release func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w, err := s.Watch(ctx, key, 0)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Hold(ctx, key, []byte("here"), time.Minute) }()
	for {
		b, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Events) > 0 {
			return func() { cancel(); <-done }
		}
	}
}

func TestExportReplace(t *testing.T) {
	a, b := open(t, cluster(t)), open(t, cluster(t))
	put := func(s kv.Store, key, value string) {
		t.Helper()
		if _, err := s.Put(t.Context(), key, []byte(value), kv.Always()); err != nil {
			t.Fatal(err)
		}
	}
	put(a, "/weft/z", "1")
	for i := range 1200 { // more than a page
		put(a, fmt.Sprintf("/weft/k%04d", i), "v")
	}
	put(a, "/weft/a", "2")
	put(a, "/other", "not ours")
	if _, err := a.Epoch(t.Context()); err != nil {
		t.Fatal(err)
	}
	release := hold(t, a, "/weft/policy/v1/peers/x")
	entries, revision, err := a.Export(t.Context(), "/weft/")
	if err != nil || len(entries) != 1202 || revision < 1203 {
		t.Fatalf("Export: %d entries at %d, %v", len(entries), revision, err)
	}
	if first, last := entries[0].Key, entries[1201].Key; first != "/weft/z" || last != "/weft/a" {
		t.Errorf("first %q and last %q, want them in the order in which they came into being", first, last)
	}

	if err := a.Replace(t.Context(), "/weft/", entries, true); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Replace under a living process: %v", err)
	}
	release()
	if err := a.Replace(t.Context(), "/weft/", nil, false); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("Replace of what is there: %v", err)
	}

	put(b, "/weft/old", "x")
	put(b, "/zzz", "theirs")
	before, err := b.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Replace(t.Context(), "/weft/", entries, true); err != nil {
		t.Fatal(err)
	}
	got, _, err := b.Export(t.Context(), "/weft/")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keysOf(entries), keysOf(got)); diff != "" {
		t.Errorf("replaced (-want +got):\n%s", diff)
	}
	if after, err := b.Epoch(t.Context()); err != nil || after == before {
		t.Errorf("epoch %q, %v, want another one than %q", after, err, before)
	}
	if _, err := b.Get(t.Context(), "/zzz"); err != nil {
		t.Errorf("a key of somebody else: %v", err)
	}
}

// A restore that breaks off leaves a store that nobody takes for a whole one.
func TestBrokenReplaceIsUnavailable(t *testing.T) {
	s := open(t, cluster(t))
	err := s.Replace(t.Context(), "/weft/", []kv.Entry{{Key: "/weft/a"}, {Key: "/elsewhere"}}, false)
	if !fault.Is(err, fault.Invalid) {
		t.Fatalf("Replace = %v, want a fault of kind Invalid", err)
	}
	if _, err := s.Epoch(t.Context()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "being restored") {
		t.Errorf("Epoch = %v, want a fault that says that it is being restored", err)
	}
	if err := s.Replace(t.Context(), "/weft/", []kv.Entry{{Key: "/weft/a"}}, true); err != nil {
		t.Errorf("taking it up again: %v", err)
	}
	if _, err := s.Epoch(t.Context()); err != nil {
		t.Errorf("Epoch after it was taken up: %v", err)
	}
}
