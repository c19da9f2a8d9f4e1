// Package kv is what the control plane needs of a store: ordered keys with revisions, guarded writes, resumable watches and
// keys that die with their writer. Implementations: etcdkv (an etcd cluster), embedkv (an etcd inside this process), memkv
// (tests). All pass the suite in kvtest.
package kv

import (
	"context"
	"errors"
	"time"
)

// Errors that every implementation returns, possibly wrapped.
var (
	// ErrConflict: the condition of a write did not hold.
	ErrConflict = errors.New("condition of the write does not hold")
	// ErrNotFound: there is no such key.
	ErrNotFound = errors.New("no such key")
	// ErrCompacted: the history that a watch wants is gone; list and watch anew.
	ErrCompacted = errors.New("history is compacted")
	// ErrClosed: the store or watch has been closed.
	ErrClosed = errors.New("store is closed")
)

// Entry is one key with its value.
type Entry struct {
	Key   string
	Value []byte
	// Revision of the store at the last write of this key.
	Revision int64
	// Created is the revision at which the key last came into being.
	Created int64
}

// Condition guards a write. The zero value is Always.
type Condition struct {
	kind     uint8
	revision int64
}

// Always lets the write happen.
func Always() Condition { return Condition{} }

// IfAbsent lets it happen only when the key does not exist.
func IfAbsent() Condition { return Condition{kind: 1} }

// IfRevision lets it happen only when the key was last written at this revision.
func IfRevision(r int64) Condition { return Condition{kind: 2, revision: r} }

// Holds says whether the condition holds for a key that was last written at revision current (0: it does not exist). For
// implementations.
func (c Condition) Holds(current int64) bool {
	switch c.kind {
	case 1:
		return current == 0
	case 2:
		return current != 0 && current == c.revision
	default:
		return true
	}
}

// Kind returns 0 for Always, 1 for IfAbsent, 2 for IfRevision, with the revision. For implementations.
func (c Condition) Kind() (kind uint8, revision int64) { return c.kind, c.revision }

// Event is one change of one key.
type Event struct {
	// Key that changed.
	Key string
	// Value now; nil with Deleted.
	Value []byte
	// Deleted says that the key is gone.
	Deleted bool
	// Revision of the change.
	Revision int64
	// Created as in Entry; 0 with Deleted.
	Created int64
}

// Batch is everything that changed at one or more whole revisions: a revision is never split over two batches.
type Batch struct {
	// Events in order of revision.
	Events []Event
	// Revision that the watcher has reached with this batch. A batch without events says that nothing changed up to here.
	Revision int64
}

// Watch is a running watch. It ends when its context ends, when the store is closed, or when it cannot go on.
type Watch interface {
	// Next blocks for the next batch. ErrCompacted: history is gone; any other error: the watch has ended.
	Next() (Batch, error)
}

// Store is a store, or the part of one below a prefix (see Scoped).
type Store interface {
	// Get reads one key: ErrNotFound when there is none.
	Get(ctx context.Context, key string) (Entry, error)
	// List reads every key that begins with prefix, in order, at one revision, which it returns.
	List(ctx context.Context, prefix string) ([]Entry, int64, error)
	// Put writes one key and returns the revision of the write: ErrConflict when the condition does not hold.
	Put(ctx context.Context, key string, value []byte, c Condition) (int64, error)
	// Delete removes one key: ErrNotFound when there is none, ErrConflict when the condition does not hold.
	Delete(ctx context.Context, key string, c Condition) (int64, error)
	// Watch streams the changes after a revision to keys that begin with prefix.
	Watch(ctx context.Context, prefix string, after int64) (Watch, error)
	// Hold keeps a key in the store until ctx ends or this process dies, then removes it (after a crash: within ttl). It
	// blocks until ctx ends, and returns early only when the store is gone for good.
	Hold(ctx context.Context, key string, value []byte, ttl time.Duration) error
	// Epoch identifies the store's history: it changes when the store is made anew or restored.
	Epoch(ctx context.Context) (string, error)
}
