package state

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/model"
)

// Change is one object that appeared, changed or went. Objects are shared by all readers and must not be modified.
type Change struct {
	Kind string
	Key  model.Key
	// Object as it is now, of the kind's type; nil when it is gone.
	Object any
	// Revision of the change.
	Revision int64
}

// Removed says that the object is gone.
func (c Change) Removed() bool { return c.Object == nil }

// Step is a step forward of one watcher.
type Step struct {
	// Reset says that everything held before this step is void.
	Reset bool
	// Changes in order; after a reset, all objects in order of kind and key.
	Changes []Change
	// Complete says that the state is consistent at Revision after this step.
	Complete bool
	// Revision that the watcher reaches when the step that is Complete has been taken.
	Revision model.Revision
}

// FeedConfig is what a Feed needs besides a store.
type FeedConfig struct {
	// Source whose revisions these are.
	Source model.Source
	// History is how many changes are kept for watchers that resume or are slow; 0: 10,000.
	History int
	// Log receives changes of the feed's own state.
	Log *zap.Logger
	// OnReset is called for each watcher that held something and must start anew; may be nil.
	OnReset func(reason string)
}

// Feed mirrors the collections of one service in memory and tells any number of watchers what changes. Safe for concurrent
// use; Run fills it.
type Feed struct {
	store  kv.Store
	cfg    FeedConfig
	mirror map[string]Mirror // by collection; read only

	mu       sync.RWMutex
	loaded   bool
	epoch    string // of what is held; "" when it must be read anew
	followed string // epoch that was read last
	revision int64
	objects  map[objectKey]Change
	log      []Change // in order of revision; elements are never overwritten
	oldest   int64    // who has seen this revision can go on with log
	changed  chan struct{}
	failure  error // why it is not up to date, or nil
}

type objectKey struct {
	kind string
	model.Key
}

// Mirror tells a feed how to read one collection.
type Mirror struct {
	kind       string
	collection string
	decode     func(key string, raw []byte, revision int64) (any, error)
}

// Mirror makes the kind known to a feed.
func (k Kind[T]) Mirror() Mirror {
	return Mirror{kind: k.Name, collection: k.Collection, decode: func(key string, raw []byte, revision int64) (any, error) {
		return k.decode(key, raw, revision)
	}}
}

// NewFeed makes a feed of some collections of a service's part of the store.
func NewFeed(store kv.Store, cfg FeedConfig, mirrors ...Mirror) *Feed {
	if cfg.History <= 0 {
		cfg.History = 10_000
	}
	if cfg.OnReset == nil {
		cfg.OnReset = func(string) {}
	}
	f := &Feed{store: store, cfg: cfg, mirror: map[string]Mirror{}, changed: make(chan struct{}), objects: map[objectKey]Change{}}
	for _, m := range mirrors {
		f.mirror[m.collection] = m
	}
	return f
}

// Ready says why the feed cannot serve yet, or nil. Once it has served it stays ready: old news are better than none, and
// what is served carries its revision.
func (f *Feed) Ready() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.loaded {
		return nil
	}
	if f.failure != nil {
		return fmt.Errorf("read the store: %w", f.failure)
	}
	return fmt.Errorf("the store has not been read yet")
}

// Seen is the store's number up to which everything is in the mirror. Read before Objects it says what cannot be missing there.
func (f *Feed) Seen() int64 { return f.at() }

// Stamp makes the revision of a change out of the store's number for it.
func (f *Feed) Stamp(ctx context.Context, seq int64) (model.Revision, error) {
	f.mu.RLock()
	epoch := f.epoch
	f.mu.RUnlock()
	if epoch == "" {
		var err error
		if epoch, err = f.store.Epoch(ctx); err != nil {
			return model.Revision{}, fault.Wrap(fault.Unavailable, err, "read the epoch of the store")
		}
	}
	return f.stamp(epoch, seq), nil
}

func (f *Feed) stamp(epoch string, seq int64) model.Revision {
	return model.Revision{Source: f.cfg.Source, Epoch: epoch, Seq: uint64(seq)}
}

// Objects iterates over the mirrored objects of one kind, in no order. It may lag behind the store.
func Objects[T any](f *Feed, kind Kind[T]) iter.Seq[T] {
	f.mu.RLock()
	var out []T
	for _, c := range f.objects {
		if c.Kind == kind.Name {
			out = append(out, c.Object.(T))
		}
	}
	f.mu.RUnlock()
	return slices.Values(out)
}

// Lookup returns a mirrored object. It may lag behind the store.
func Lookup[T any](f *Feed, kind Kind[T], key model.Key) (T, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	object, ok := f.objects[objectKey{kind.Name, key}].Object.(T)
	return object, ok
}
