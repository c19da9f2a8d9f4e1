package kvtest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/services/internal/kv"
)

func getAndPut(t *testing.T, s Store) {
	_, err := s.Get(bounded(t), "a")
	wantErr(t, "get of a key that is not there", err, kv.ErrNotFound)
	first := put(t, s, "a", "1")
	wantEntry(t, s, kv.Entry{Key: "a", Value: []byte("1"), Revision: first, Created: first})
	second := put(t, s, "a", "2")
	if second <= first {
		t.Errorf("revisions %d, %d do not grow", first, second)
	}
	wantEntry(t, s, kv.Entry{Key: "a", Value: []byte("2"), Revision: second, Created: first})
	remove(t, s, "a")
	third := put(t, s, "a", "3")
	wantEntry(t, s, kv.Entry{Key: "a", Value: []byte("3"), Revision: third, Created: third})
}

func guardedWrites(t *testing.T, s Store) {
	ctx := bounded(t)
	_, err := s.Put(ctx, "a", nil, kv.IfRevision(1))
	wantErr(t, "put of an absent key if at a revision", err, kv.ErrConflict)
	first, err := s.Put(ctx, "a", []byte("1"), kv.IfAbsent())
	if err != nil {
		t.Fatalf("put if absent: %v", err)
	}
	_, err = s.Put(ctx, "a", []byte("x"), kv.IfAbsent())
	wantErr(t, "second put if absent", err, kv.ErrConflict)
	second, err := s.Put(ctx, "a", []byte("2"), kv.IfRevision(first))
	if err != nil {
		t.Fatalf("put if at revision %d: %v", first, err)
	}
	_, err = s.Put(ctx, "a", []byte("x"), kv.IfRevision(first))
	wantErr(t, "put if at an old revision", err, kv.ErrConflict)
	wantEntry(t, s, kv.Entry{Key: "a", Value: []byte("2"), Revision: second, Created: first})
}

func guardedDeletes(t *testing.T, s Store) {
	ctx := bounded(t)
	_, err := s.Delete(ctx, "a", kv.Always())
	wantErr(t, "delete of an absent key", err, kv.ErrNotFound)
	_, err = s.Delete(ctx, "a", kv.IfRevision(1))
	wantErr(t, "guarded delete of an absent key", err, kv.ErrNotFound)
	first := put(t, s, "a", "1")
	second := put(t, s, "a", "2")
	_, err = s.Delete(ctx, "a", kv.IfRevision(first))
	wantErr(t, "delete if at an old revision", err, kv.ErrConflict)
	rev, err := s.Delete(ctx, "a", kv.IfRevision(second))
	if err != nil || rev <= second {
		t.Errorf("delete if at revision %d = %d, %v; want a later revision", second, rev, err)
	}
	_, err = s.Get(ctx, "a")
	wantErr(t, "get of the deleted key", err, kv.ErrNotFound)
}

func list(t *testing.T, s Store) {
	ctx := bounded(t)
	_, empty, err := s.List(ctx, "x/")
	if err != nil {
		t.Fatal(err)
	}
	b := put(t, s, "x/b", "2")
	a := put(t, s, "x/a", "1")
	y := put(t, s, "y/a", "3")
	got, rev, err := s.List(ctx, "x/")
	if err != nil {
		t.Fatal(err)
	}
	want := []kv.Entry{{Key: "x/a", Value: []byte("1"), Revision: a, Created: a}, {Key: "x/b", Value: []byte("2"), Revision: b, Created: b}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if rev < y || rev <= empty {
		t.Errorf("list at revision %d, want at least %d and more than %d", rev, y, empty)
	}
}

func scoped(t *testing.T, s Store) {
	ctx := bounded(t)
	part := kv.Scoped(s, "/part/")
	rev := put(t, part, "a", "1")
	wantEntry(t, s, kv.Entry{Key: "/part/a", Value: []byte("1"), Revision: rev, Created: rev})
	wantEntry(t, part, kv.Entry{Key: "a", Value: []byte("1"), Revision: rev, Created: rev})
	put(t, s, "/other/b", "2")
	entries, _, err := part.List(ctx, "")
	if err != nil || len(entries) != 1 || entries[0].Key != "a" {
		t.Errorf("list of the part = %v, %v; want only %q", entries, err, "a")
	}
	last := put(t, part, "c", "3")
	for _, e := range collect(t, watchFrom(t, part, "", rev), last) {
		if e.Key != "c" {
			t.Errorf("watch of the part shows %q", e.Key)
		}
	}
}

// writers add to one counter at once, each by read and guarded write: the sum is the number of writes that succeeded.
func writers(t *testing.T, s Store) {
	const goroutines, each = 8, 10
	put(t, s, "counter", "0")
	var wg sync.WaitGroup
	errs := make(chan error, goroutines)
	for range goroutines {
		wg.Go(func() {
			for range each {
				if err := increment(t, s); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	e, err := s.Get(bounded(t), "counter")
	if err != nil || string(e.Value) != strconv.Itoa(goroutines*each) {
		t.Errorf("counter = %q, %v; want %d", e.Value, err, goroutines*each)
	}
}

func increment(t *testing.T, s Store) error {
	ctx := t.Context()
	for {
		e, err := s.Get(ctx, "counter")
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(string(e.Value))
		if err != nil {
			return fmt.Errorf("counter holds %q: %w", e.Value, err)
		}
		_, err = s.Put(ctx, "counter", []byte(strconv.Itoa(n+1)), kv.IfRevision(e.Revision))
		if !errors.Is(err, kv.ErrConflict) {
			return err
		}
	}
}
