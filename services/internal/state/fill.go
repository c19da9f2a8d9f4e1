package state

import (
	"context"
	"errors"
	"maps"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/services/internal/kv"
)

var errRestored = errors.New("the store has been restored meanwhile")

// Run keeps the mirror in step with the store until ctx ends. A watch that breaks is taken up where it ended; only when the
// store has forgotten that point, or is another store, everything is read anew.
func (f *Feed) Run(ctx context.Context) error {
	wait := backoff.New(50*time.Millisecond, 2*time.Second)
	for ctx.Err() == nil {
		err := f.follow(ctx, wait.Reset)
		if ctx.Err() != nil {
			break
		}
		f.fail(err)
		if errors.Is(err, kv.ErrCompacted) {
			continue
		}
		if wait.Wait(ctx) != nil {
			break
		}
	}
	return nil
}

// follow reads or resumes, then applies batches until something breaks.
func (f *Feed) follow(ctx context.Context, progress func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	epoch, err := f.store.Epoch(ctx)
	if err != nil {
		return err
	}
	if f.mustLoad(epoch) {
		if err := f.load(ctx, epoch); err != nil {
			return err
		}
	}
	watch, err := f.store.Watch(ctx, "", f.at())
	if err != nil {
		return f.forget(err)
	}
	if err := f.same(ctx, epoch); err != nil {
		return err
	}
	f.recovered()
	for {
		batch, err := watch.Next()
		if err != nil {
			return f.forget(err)
		}
		f.apply(batch)
		progress()
	}
}

// same makes sure that what was just asked is still the store that the epoch was read from: one that is restored in between
// would give another history under the old name.
func (f *Feed) same(ctx context.Context, epoch string) error {
	now, err := f.store.Epoch(ctx)
	if err == nil && now != epoch {
		err = errRestored
	}
	return err
}

func (f *Feed) at() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.revision
}

func (f *Feed) mustLoad(epoch string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.epoch != epoch
}

// forget makes the next turn read everything when the store no longer has what comes next.
func (f *Feed) forget(err error) error {
	if errors.Is(err, kv.ErrCompacted) {
		f.mu.Lock()
		f.epoch = ""
		f.mu.Unlock()
	}
	return err
}

// load replaces the mirror. Watchers who are not exactly at the new revision start anew: what happened in between is unknown.
func (f *Feed) load(ctx context.Context, epoch string) error {
	entries, revision, err := f.store.List(ctx, "")
	if err != nil {
		return err
	}
	if err := f.same(ctx, epoch); err != nil {
		return err
	}
	objects := make(map[objectKey]Change, len(entries))
	for _, e := range entries {
		if c, ok := f.change(kv.Event{Key: e.Key, Value: e.Value, Revision: e.Revision}); ok && !c.Removed() {
			objects[objectKey{c.Kind, c.Key}] = c
		}
	}
	f.mu.Lock()
	before, followed := f.objects, f.followed
	f.loaded, f.epoch, f.followed, f.revision, f.oldest = true, epoch, epoch, revision, revision
	f.objects, f.log = objects, nil
	f.wake()
	f.mu.Unlock()
	if followed != "" && followed != epoch {
		f.tellRestored(epoch, before, objects) // both are read only now but for apply, which runs here
	}
	return nil
}

func (f *Feed) apply(batch kv.Batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range batch.Events {
		if e.Revision <= f.revision {
			continue
		}
		c, ok := f.change(e)
		if !ok {
			continue
		}
		key := objectKey{c.Kind, c.Key}
		if _, had := f.objects[key]; c.Removed() && !had {
			continue
		}
		if c.Removed() {
			delete(f.objects, key)
		} else {
			f.objects[key] = c
		}
		f.log = append(f.log, c)
	}
	if over := len(f.log) - f.cfg.History; over > 0 {
		keep := f.log[max(over, len(f.log)/2):] // a half at once, so that the copying is rare
		f.oldest = f.log[len(f.log)-len(keep)-1].Revision
		f.log = append(make([]Change, 0, f.cfg.History), keep...)
	}
	f.revision = max(f.revision, batch.Revision)
	f.wake()
}

// change decodes an event. An object that cannot be decoded counts as absent: it hurts only itself.
func (f *Feed) change(e kv.Event) (Change, bool) {
	collection, key, ok := parseKey(e.Key)
	m, known := f.mirror[collection]
	if !ok || !known {
		return Change{}, false
	}
	c := Change{Kind: m.kind, Key: key, Revision: e.Revision}
	if e.Deleted {
		return c, true
	}
	object, err := m.decode(e.Key, e.Value, e.Revision)
	if err != nil {
		f.cfg.Log.Error("stored object cannot be read, treating it as absent", zap.String("kind", m.kind), zap.Stringer("object", key), zap.Error(err))
		return c, true
	}
	c.Object = object
	return c, true
}

// wake tells everyone who waits. Callers hold mu.
func (f *Feed) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *Feed) fail(err error) {
	f.mu.Lock()
	first := f.failure == nil
	f.failure = err
	f.mu.Unlock()
	if first {
		f.cfg.Log.Warn("feed lost the store, going on when it is back", zap.Error(err))
	}
}

func (f *Feed) recovered() {
	f.mu.Lock()
	again := f.failure != nil
	f.failure = nil
	objects, revision := len(f.objects), f.revision
	f.mu.Unlock()
	if again {
		f.cfg.Log.Info("feed follows the store again", zap.Int("objects", objects), zap.Int64("revision", revision))
	}
}

// snapshot lists all objects in order of kind and key. Callers hold mu.
func (f *Feed) snapshot() []Change {
	return sortChanges(maps.Values(f.objects))
}
