package state

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
	"github.com/weft-mesh/weft/services/internal/model"
)

func newFeed(store kv.Store, history int, onReset func(string)) *Feed {
	return NewFeed(store, FeedConfig{Source: model.SourcePolicy, History: history, Log: zap.NewNop(), OnReset: onReset}, things().Mirror(), others().Mirror())
}

// watcher applies steps as a client would.
type watcher struct {
	held    map[string]string
	next    map[string]string // being built up to the next complete step
	at      model.Revision
	resets  int
	steps   int
	problem string
}

func (w *watcher) take(s Step) {
	w.steps++
	if s.Reset {
		w.resets++
		w.next = map[string]string{}
	}
	for _, c := range s.Changes {
		if c.Removed() {
			delete(w.next, c.Kind+" "+c.Key.String())
		} else {
			w.next[c.Kind+" "+c.Key.String()] = c.Object.(thing).Value
		}
	}
	if !s.Complete {
		return
	}
	if s.Revision.Epoch == w.at.Epoch && s.Revision.Seq < w.at.Seq {
		w.problem = "went back from " + w.at.String() + " to " + s.Revision.String()
	}
	w.at = s.Revision
	w.held = clone(w.next)
}

func clone(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// follow runs a subscription in the background until the returned function is called.
func follow(t *testing.T, f *Feed, w *watcher) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.next = clone(w.held)
		for s := range f.Subscribe(ctx, w.at) {
			w.take(s)
		}
	}()
	return func() { cancel(); <-done }
}

func run(t *testing.T, f *Feed) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestFeedResumesWithoutReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, store := t.Context(), memkv.New()
		c := NewCollection(store, things())
		must(c.Create(ctx, named("default", "a", "1")))(t)
		f := newFeed(store, 0, func(reason string) { t.Errorf("reset: %s", reason) })
		if f.Ready() == nil {
			t.Error("ready before it has read anything")
		}
		defer run(t, f)()
		w := &watcher{}
		stop := follow(t, f, w)
		synctest.Wait()
		if f.Ready() != nil || w.resets != 1 || len(w.held) != 1 {
			t.Errorf("first state: %+v, %v", w, f.Ready())
		}
		stop()
		must(c.Create(ctx, named("default", "b", "1")))(t)
		must(c.Delete(ctx, key("a"), ""))(t)
		defer follow(t, f, w)()
		synctest.Wait()
		if diff := cmp.Diff(map[string]string{"Thing default/b": "1"}, w.held); diff != "" || w.resets != 1 {
			t.Errorf("after resuming: %d resets (-want +got):\n%s", w.resets, diff)
		}
	})
}

func TestFeedResets(t *testing.T) {
	for _, tc := range []struct {
		name   string
		resume func(at model.Revision) model.Revision
		reason string
	}{
		{"another history", func(at model.Revision) model.Revision { at.Epoch = "old"; return at }, ResetEpoch},
		{"another source", func(at model.Revision) model.Revision { at.Source = model.SourceDiscovery; return at }, ResetEpoch},
		{"before history begins", func(at model.Revision) model.Revision { at.Seq = 1; return at }, ResetTooOld},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memkv.New()
				must(NewCollection(store, things()).Create(t.Context(), named("default", "a", "1")))(t)
				var reasons []string
				f := newFeed(store, 0, func(r string) { reasons = append(reasons, r) })
				defer run(t, f)()
				synctest.Wait()
				w := &watcher{at: tc.resume(must(f.Stamp(t.Context(), f.at()))(t)), held: map[string]string{"Thing default/gone": "x"}}
				defer follow(t, f, w)()
				synctest.Wait()
				if diff := cmp.Diff([]string{tc.reason}, reasons); diff != "" || len(w.held) != 1 || w.held["Thing default/a"] != "1" {
					t.Errorf("want a reset: %v (-want +got):\n%s", w.held, diff)
				}
			})
		})
	}
}

// A watcher who has seen more than this replica waits; he is not taken back, and an idle store does not keep him waiting.
func TestFeedNeverGoesBackwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, store := t.Context(), memkv.New()
		mine := kv.Scoped(store, "mine/")
		must(NewCollection(mine, things()).Create(ctx, named("default", "a", "1")))(t)
		f := newFeed(mine, 0, func(r string) { t.Errorf("reset: %s", r) })
		defer run(t, f)()
		synctest.Wait()
		seen := must(f.Stamp(ctx, f.at()+5))(t) // another replica read when another service had written more
		for range 5 {
			must(store.Put(ctx, "theirs/x", []byte{1}, kv.Always()))(t)
		}
		w := &watcher{at: seen, held: map[string]string{"Thing default/a": "1"}}
		defer follow(t, f, w)()
		synctest.Wait()
		if w.steps != 1 || w.resets != 0 || !w.at.Reaches(seen) || w.problem != "" {
			t.Errorf("want one step at or after %v, got %+v", seen, w)
		}
	})
}

// A watcher of one replica learns that nothing happened, up to where a watcher who begins at another replica begins: else
// what has moved from there to here would wait for the next change.
func TestFeedTellsThatNothingHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, store := t.Context(), memkv.New()
		mine := kv.Scoped(store, "mine/")
		must(NewCollection(mine, things()).Create(ctx, named("default", "a", "1")))(t)
		feed := func() *Feed { return newFeed(mine, 0, func(r string) { t.Errorf("reset: %s", r) }) }
		f := feed()
		defer run(t, f)()
		old := &watcher{}
		defer follow(t, f, old)()
		synctest.Wait()
		must(store.Put(ctx, "theirs/x", []byte{1}, kv.Always()))(t)
		other, young := feed(), &watcher{}
		defer run(t, other)()
		synctest.Wait()
		defer follow(t, other, young)()
		synctest.Wait()
		if !old.at.Reaches(young.at) || old.resets != 1 || len(old.held) != 1 {
			t.Errorf("the old watcher is at %v, the young one at %v: %+v", old.at, young.at, old)
		}
	})
}

func TestFeedSplitsLongStatesButCompletesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memkv.New()
		c := NewCollection(store, things())
		for i := range chunk + 1 {
			must(c.Create(t.Context(), named("default", "t"+etag(int64(i)), "1")))(t)
		}
		f := newFeed(store, 0, nil)
		defer run(t, f)()
		w := &watcher{}
		defer follow(t, f, w)()
		synctest.Wait()
		if w.steps != 2 || w.resets != 1 || len(w.held) != chunk+1 {
			t.Errorf("want %d objects in two steps, got %d in %d", chunk+1, len(w.held), w.steps)
		}
	})
}

// Row C10: one object that cannot be read hurts only itself.
func TestC10_BrokenObjectCountsAsAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, store := t.Context(), memkv.New()
		c := NewCollection(store, things())
		must(c.Create(ctx, named("default", "a", "1")))(t)
		must(c.Create(ctx, named("default", "b", "1")))(t)
		f := newFeed(store, 0, nil)
		defer run(t, f)()
		w := &watcher{}
		defer follow(t, f, w)()
		synctest.Wait()
		must(store.Put(ctx, "things/default/a", []byte("{"), kv.Always()))(t)
		must(store.Put(ctx, "strange", []byte("x"), kv.Always()))(t)
		synctest.Wait()
		if diff := cmp.Diff(map[string]string{"Thing default/b": "1"}, w.held); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestFeedOutlivesFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, store := t.Context(), memkv.New()
		c := NewCollection(store, things())
		store.FailNext(errors.New("away"))
		store.FailNext(errors.New("still away"))
		f := newFeed(store, 0, nil)
		defer run(t, f)()
		w := &watcher{}
		defer follow(t, f, w)()
		synctest.Wait()
		if f.Ready() == nil {
			t.Error("ready without a store")
		}
		must(waitReady(ctx, f))(t)
		must(c.Create(ctx, named("default", "a", "1")))(t)
		synctest.Wait()
		if w.held["Thing default/a"] != "1" {
			t.Errorf("want the object, got %v", w.held)
		}
	})
}

// waitReady waits on the feed's own signal; inside a bubble its back-off takes no time.
func waitReady(ctx context.Context, f *Feed) (struct{}, error) {
	for {
		f.mu.RLock()
		loaded, changed := f.loaded, f.changed
		f.mu.RUnlock()
		if loaded {
			return struct{}{}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return struct{}{}, ctx.Err()
		}
	}
}
