package kvtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/services/internal/kv"
)

func watchResumes(t *testing.T, s Store) {
	first := put(t, s, "x/a", "1")
	second := put(t, s, "x/b", "2")
	put(t, s, "y/a", "other")
	third := put(t, s, "x/a", "3")
	all := []kv.Event{
		{Key: "x/a", Value: []byte("1"), Revision: first, Created: first},
		{Key: "x/b", Value: []byte("2"), Revision: second, Created: second},
		{Key: "x/a", Value: []byte("3"), Revision: third, Created: first},
	}
	for skip, after := range []int64{first - 1, first, second} {
		got := collect(t, watchFrom(t, s, "x/", after), third)
		if diff := cmp.Diff(all[skip:], got); diff != "" {
			t.Errorf("watch after revision %d (-want +got):\n%s", after, diff)
		}
	}
}

func watchSeesDeletes(t *testing.T, s Store) {
	first := put(t, s, "a", "1")
	w := watchFrom(t, s, "a", first)
	second := remove(t, s, "a")
	third := put(t, s, "a", "2")
	want := []kv.Event{
		{Key: "a", Deleted: true, Revision: second},
		{Key: "a", Value: []byte("2"), Revision: third, Created: third},
	}
	if diff := cmp.Diff(want, collect(t, w, third)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// watchAdvances: a watcher whose keys rest learns that others changed, so that what it resumes from does not grow old.
func watchAdvances(t *testing.T, s Store) {
	first := put(t, s, "x/a", "1")
	w := watchFrom(t, s, "x/", first)
	other := put(t, s, "y/a", "1")
	b, err := w.Next()
	if err != nil || len(b.Events) > 0 || b.Revision < other {
		t.Errorf("Next = %+v, %v; want no event up to revision %d", b, err, other)
	}
}

func watchEnds(t *testing.T, s Store) {
	first := put(t, s, "a", "1")
	ctx, cancel := context.WithCancel(bounded(t))
	w, err := s.Watch(ctx, "a", first)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err = w.Next(); err == nil {
		t.Error("Next = nil after the context ended, want an error")
	}
}

func watchCompacted(t *testing.T, s Store) {
	first := put(t, s, "a", "1")
	put(t, s, "a", "2")
	third := put(t, s, "a", "3")
	if err := s.Compact(bounded(t), third); err != nil {
		t.Fatal(err)
	}
	w, err := s.Watch(bounded(t), "a", first)
	for err == nil {
		_, err = w.Next()
	}
	wantErr(t, "watch of compacted history", err, kv.ErrCompacted)
	_, rev, err := s.List(bounded(t), "a")
	if err != nil || rev < third {
		t.Fatalf("list = revision %d, %v", rev, err)
	}
	w = watchFrom(t, s, "a", rev)
	fourth := put(t, s, "a", "4")
	if got := collect(t, w, fourth); len(got) != 1 || got[0].Revision != fourth {
		t.Errorf("watch after list = %+v, want one event at revision %d", got, fourth)
	}
}

func hold(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	_, rev, err := s.List(ctx, "peers/")
	if err != nil {
		t.Fatal(err)
	}
	w := watchFrom(t, s, "peers/", rev)
	done := make(chan error, 1)
	go func() { done <- s.Hold(ctx, "peers/a", []byte("here"), 10*time.Second) }()
	if e := next(t, w); e.Key != "peers/a" || string(e.Value) != "here" {
		t.Errorf("first event = %+v, want the held key", e)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Hold = %v after its context ended, want nil", err)
	}
	if e := next(t, w); e.Key != "peers/a" || !e.Deleted {
		t.Errorf("second event = %+v, want the key gone", e)
	}
}

// holdReplaces: a holder that comes back under the name of one that is not yet gone takes over its key.
func holdReplaces(t *testing.T, s Store) {
	first := put(t, s, "peers/a", "old")
	w := watchFrom(t, s, "peers/", first)
	ctx, cancel := context.WithCancel(bounded(t))
	done := make(chan error, 1)
	go func() { done <- s.Hold(ctx, "peers/a", []byte("new"), 10*time.Second) }()
	if e := next(t, w); string(e.Value) != "new" {
		t.Errorf("event = %+v, want the new value", e)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Hold = %v, want nil", err)
	}
}

func next(t *testing.T, w kv.Watch) kv.Event {
	t.Helper()
	for {
		b, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Events) > 0 {
			return b.Events[0]
		}
	}
}

func epoch(t *testing.T, s Store) {
	var wg sync.WaitGroup
	got := make([]string, 4)
	for i := range got {
		wg.Go(func() {
			e, err := s.Epoch(t.Context())
			if err != nil {
				t.Error(err)
			}
			got[i] = e
		})
	}
	wg.Wait()
	for _, e := range got {
		if e == "" || e != got[0] {
			t.Errorf("epochs %q differ or are empty", got)
		}
	}
}

// mirror writes at random from several goroutines while a watcher that is broken off and resumed again and again builds a
// copy: at the end the copy equals a list.
func mirror(t *testing.T, s Store) {
	_, start, err := s.List(bounded(t), "m/")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() { scribble(t, s, rand.New(rand.NewPCG(1, uint64(g)))) })
	}
	wg.Wait()
	last := put(t, s, "m/last", "x")
	entries, _, err := s.List(bounded(t), "m/")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, e := range entries {
		want[e.Key] = string(e.Value)
	}
	got := map[string]string{}
	for at := start; at < last; {
		ctx, cancel := context.WithCancel(bounded(t))
		w, err := s.Watch(ctx, "m/", at)
		if err != nil {
			t.Fatal(err)
		}
		b, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.Events {
			if e.Deleted {
				delete(got, e.Key)
			} else {
				got[e.Key] = string(e.Value)
			}
		}
		at = b.Revision
		cancel()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("copy (-list +copy):\n%s", diff)
	}
}

func scribble(t *testing.T, s Store, r *rand.Rand) {
	for i := range 25 {
		key := fmt.Sprintf("m/%d", r.IntN(6))
		if r.IntN(3) == 0 {
			_, _ = s.Delete(t.Context(), key, kv.Always()) // absent as often as not
			continue
		}
		if _, err := s.Put(t.Context(), key, fmt.Append(nil, i), kv.Always()); err != nil {
			t.Errorf("put %q: %v", key, err)
		}
	}
}
