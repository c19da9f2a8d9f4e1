package kvtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/services/internal/kv"
)

// Store is what the suite needs: a store whose history can be cut.
type Store interface {
	kv.Store
	// Compact forgets history up to and including a revision.
	Compact(ctx context.Context, revision int64) error
}

// Run runs the suite. open returns an empty store for each test and closes it when the test ends.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for _, tc := range []struct {
		name string
		run  func(*testing.T, Store)
	}{
		{"get and put", getAndPut},
		{"guarded writes", guardedWrites},
		{"guarded deletes", guardedDeletes},
		{"list at one revision", list},
		{"scoped store", scoped},
		{"watch resumes", watchResumes},
		{"watch sees deletes", watchSeesDeletes},
		{"watch advances", watchAdvances},
		{"watch ends with its context", watchEnds},
		{"watch after compaction", watchCompacted},
		{"hold ends with its context", hold},
		{"hold replaces", holdReplaces},
		{"epoch is stable", epoch},
		{"writers lose no update", writers},
		{"a watcher sees what a reader sees", mirror},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.run(t, open(t))
		})
	}
}

// patience bounds how long a broken store can hang the suite; a sound one never comes near.
const patience = time.Minute

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func put(t *testing.T, s kv.Store, key, value string) int64 {
	t.Helper()
	rev, err := s.Put(bounded(t), key, []byte(value), kv.Always())
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
	return rev
}

func remove(t *testing.T, s kv.Store, key string) int64 {
	t.Helper()
	rev, err := s.Delete(bounded(t), key, kv.Always())
	if err != nil {
		t.Fatalf("delete %q: %v", key, err)
	}
	return rev
}

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func wantEntry(t *testing.T, s kv.Store, want kv.Entry) {
	t.Helper()
	got, err := s.Get(bounded(t), want.Key)
	if err != nil {
		t.Fatalf("get %q: %v", want.Key, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("get %q (-want +got):\n%s", want.Key, diff)
	}
}

// collect reads a watch until it has seen the revision.
func collect(t *testing.T, w kv.Watch, until int64) []kv.Event {
	t.Helper()
	var events []kv.Event
	var reached int64
	for reached < until {
		b, err := w.Next()
		if err != nil {
			t.Fatalf("watch at revision %d, waiting for %d: %v", reached, until, err)
		}
		for _, e := range b.Events {
			if e.Revision <= reached {
				t.Fatalf("event of %q at revision %d after a batch that ended at %d: a revision is split or repeated", e.Key, e.Revision, reached)
			}
			if e.Revision > b.Revision {
				t.Fatalf("event of %q at revision %d in a batch that ends at %d", e.Key, e.Revision, b.Revision)
			}
		}
		events = append(events, b.Events...)
		reached = b.Revision
	}
	return events
}

func watchFrom(t *testing.T, s kv.Store, prefix string, after int64) kv.Watch {
	t.Helper()
	w, err := s.Watch(bounded(t), prefix, after)
	if err != nil {
		t.Fatalf("watch %q after %d: %v", prefix, after, err)
	}
	return w
}
