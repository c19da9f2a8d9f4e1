package state

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
	"github.com/weft-mesh/weft/services/internal/model"
)

// restorable is a store that can be exchanged for another one, like a cluster that is restored from a backup.
type restorable struct {
	mu  sync.Mutex
	now *memkv.Store
	cut []context.CancelFunc // ends the running watches
}

// hangUp ends every running watch.
func (r *restorable) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, cut := range r.cut {
		cut()
	}
	r.cut = nil
}

func (r *restorable) store() *memkv.Store {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}
func (r *restorable) Get(ctx context.Context, k string) (kv.Entry, error) {
	return r.store().Get(ctx, k)
}
func (r *restorable) List(ctx context.Context, p string) ([]kv.Entry, int64, error) {
	return r.store().List(ctx, p)
}
func (r *restorable) Put(ctx context.Context, k string, v []byte, c kv.Condition) (int64, error) {
	return r.store().Put(ctx, k, v, c)
}
func (r *restorable) Delete(ctx context.Context, k string, c kv.Condition) (int64, error) {
	return r.store().Delete(ctx, k, c)
}
func (r *restorable) Watch(ctx context.Context, p string, after int64) (kv.Watch, error) {
	r.mu.Lock()
	ctx, cut := context.WithCancel(ctx)
	r.cut = append(r.cut, cut)
	r.mu.Unlock()
	return r.store().Watch(ctx, p, after)
}
func (r *restorable) Hold(ctx context.Context, k string, v []byte, ttl time.Duration) error {
	return r.store().Hold(ctx, k, v, ttl)
}
func (r *restorable) Epoch(ctx context.Context) (string, error) { return r.store().Epoch(ctx) }

// world is a store, two replicas' feeds, watchers, and the truth at each revision.
type world struct {
	t     *testing.T
	store *restorable
	feeds []*Feed
	watch []*client

	// truth of each epoch in order of revision
	truth map[string][]fact
}

// fact is what holds from a revision on.
type fact struct {
	revision int64
	held     map[string]string
}

// at returns what was true at a revision.
func (w *world) at(r model.Revision) map[string]string {
	facts := w.truth[r.Epoch]
	for i := len(facts) - 1; i >= 0; i-- {
		if uint64(facts[i].revision) <= r.Seq {
			return facts[i].held
		}
	}
	return nil
}

// client is a watcher that can be held up and that moves between replicas.
type client struct {
	watcher
	world *world
	stop  func()
	gate  chan struct{} // nil: takes everything at once
	seen  []sight
}

// sight is what a client held at a complete step.
type sight struct {
	at   model.Revision
	held map[string]string
}

func (c *client) connect(f *Feed) {
	ctx, cancel := context.WithCancel(c.world.t.Context())
	done := make(chan struct{})
	c.next = clone(c.held)
	gate := c.gate
	go func() {
		defer close(done)
		for s := range f.Subscribe(ctx, c.at) {
			if gate != nil {
				select {
				case <-gate:
				case <-ctx.Done():
					return
				}
			}
			c.take(s)
			if s.Complete {
				c.seen = append(c.seen, sight{c.at, c.held})
			}
		}
	}()
	c.stop = func() { cancel(); <-done }
}

// judge compares what clients held with what was true then.
func (w *world) judge() string {
	for i, c := range w.watch {
		if c.problem != "" {
			return c.problem
		}
		for _, s := range c.seen {
			if diff := cmp.Diff(w.at(s.at), s.held); diff != "" {
				return fmt.Sprintf("client %d differs at %v (-want +got):\n%s", i, s.at, diff)
			}
		}
		last := w.truth[must(w.store.Epoch(w.t.Context()))(w.t)]
		if diff := cmp.Diff(last[len(last)-1].held, c.held); diff != "" {
			return fmt.Sprintf("client %d does not end at the truth (-want +got):\n%s", i, diff)
		}
	}
	return ""
}

// record notes what is true now.
func (w *world) record() {
	store := w.store.store()
	entries, revision, err := store.List(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	epoch, err := store.Epoch(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	truth := map[string]string{}
	for _, e := range entries {
		for _, k := range []Kind[thing]{things(), others()} {
			if collection, key, ok := parseKey(e.Key); ok && collection == k.Collection {
				object := must(k.decodeEntry(e))(w.t)
				truth[k.Name+" "+key.String()] = object.Value
			}
		}
	}
	w.truth[epoch] = append(w.truth[epoch], fact{revision, truth})
}

func (w *world) write(kind Kind[thing], name, value string) {
	c := NewCollection(w.store, kind)
	ctx := w.t.Context()
	if value == "" {
		_, _ = c.Delete(ctx, key(name), "") // there may be nothing to delete
	} else if _, err := c.Update(ctx, named("default", name, value)); err != nil {
		must(c.Create(ctx, named("default", name, value)))(w.t)
	}
	w.record()
}

// restore replaces the store by a new one that holds half of what was there.
func (w *world) restore() {
	old, next := w.store.store(), memkv.New()
	entries, _, err := old.List(w.t.Context(), "")
	if err != nil {
		w.t.Fatal(err)
	}
	for i, e := range entries {
		if i%2 == 0 {
			must(next.Put(w.t.Context(), e.Key, e.Value, kv.Always()))(w.t)
		}
	}
	w.store.mu.Lock()
	w.store.now = next
	w.store.mu.Unlock()
	w.record()
	_ = old.Close() // ends the watches on it
}

// move is one random event.
type move struct {
	What, Kind, Name, Value, Client, Feed int
}

func moves() *rapid.Generator[[]move] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) move {
		n := func(name string, limit int) int { return rapid.IntRange(0, limit-1).Draw(t, name) }
		return move{What: n("what", 10), Kind: n("kind", 2), Name: n("name", 4), Value: n("value", 4), Client: n("client", 4), Feed: n("feed", 2)}
	}), 1, 60)
}

func (w *world) play(m move) {
	c := w.watch[m.Client]
	switch m.What {
	case 0: // a client reconnects, maybe to the other replica
		c.stop()
		c.connect(w.feeds[m.Feed])
	case 1: // a slow client takes one step
		if c.gate != nil {
			select {
			case c.gate <- struct{}{}:
			default:
			}
		}
	case 2: // watches break
		w.store.hangUp()
	case 3: // history is cut, maybe below somebody who has not read it yet
		store := w.store.store()
		_, revision, err := store.List(w.t.Context(), "")
		if err == nil {
			_ = store.Compact(w.t.Context(), revision) // fails only for a revision yet to come
		}
	case 4:
		w.restore()
	case 5:
		synctest.Wait()
	default:
		value := ""
		if m.Value > 0 {
			value = fmt.Sprint(m.Value)
		}
		w.write([]Kind[thing]{things(), others()}[m.Kind], fmt.Sprintf("n%d", m.Name), value)
	}
}

// Whatever happens, every client holds the truth of the revision that it is told, never goes back, and ends at the truth.
func TestWatchersAlwaysConverge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := moves().Draw(rt, "moves")
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = perform(t, script) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

func perform(t *testing.T, script []move) string {
	w := &world{t: t, store: &restorable{now: memkv.New()}, truth: map[string][]fact{}}
	w.record()
	for range 2 {
		f := newFeed(w.store, 8, nil)
		defer run(t, f)()
		w.feeds = append(w.feeds, f)
	}
	for i := range 4 {
		c := &client{world: w}
		if i%2 == 1 {
			c.gate = make(chan struct{})
		}
		c.connect(w.feeds[i/2])
		defer func() { c.stop() }()
		w.watch = append(w.watch, c)
	}
	for _, m := range script {
		w.play(m)
	}
	for _, c := range w.watch { // let the slow ones run
		c.stop()
		c.gate = nil
		c.connect(w.feeds[0])
	}
	<-time.After(time.Minute) // the bubble's time: lets every back-off pass
	synctest.Wait()
	return w.judge()
}
