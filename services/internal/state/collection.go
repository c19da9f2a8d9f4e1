package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/model"
)

// Collection reads and writes the objects of one kind. It always reads the store itself, so that every replica reads what
// any replica has written. Safe for concurrent use.
type Collection[T any] struct {
	store kv.Store
	kind  Kind[T]
}

// NewCollection makes a collection in a service's part of the store.
func NewCollection[T any](store kv.Store, kind Kind[T]) *Collection[T] {
	return &Collection[T]{store: store, kind: kind}
}

// Written is the outcome of a write.
type Written[T any] struct {
	// Object as stored.
	Object T
	// Revision of the object's last change: this one, unless nothing differed.
	Revision int64
	// Changed says that the write made a new revision.
	Changed bool
}

// Get reads one object: a NotFound fault when there is none.
func (c *Collection[T]) Get(ctx context.Context, key model.Key) (T, error) {
	object, _, err := c.get(ctx, key)
	return object, err
}

func (c *Collection[T]) get(ctx context.Context, key model.Key) (T, kv.Entry, error) {
	var none T
	entry, err := c.store.Get(ctx, c.kind.key(key))
	if err != nil {
		return none, entry, c.fail(err, "read", key)
	}
	object, err := c.kind.decodeEntry(entry)
	return object, entry, err
}

// Create adds an object: an Exists fault when there is one of that name.
func (c *Collection[T]) Create(ctx context.Context, object T) (Written[T], error) {
	meta := c.kind.Meta(&object)
	now := time.Now().UTC()
	meta.CreateTime, meta.UpdateTime = now, now
	raw, err := c.kind.encode(object)
	if err != nil {
		return Written[T]{}, err
	}
	revision, err := c.store.Put(ctx, c.kind.key(meta.Key), raw, kv.IfAbsent())
	if errors.Is(err, kv.ErrConflict) {
		return Written[T]{}, fault.New(fault.Exists, "there is a %s %q already", c.kind.Name, meta.Key)
	}
	if err != nil {
		return Written[T]{}, c.fail(err, "create", meta.Key)
	}
	meta.Etag = etag(revision)
	return Written[T]{Object: object, Revision: revision, Changed: true}, nil
}

// Update replaces an object whose etag is that of object, or whatever is there when object has none. A replacement equal to
// what is stored writes nothing.
func (c *Collection[T]) Update(ctx context.Context, object T) (Written[T], error) {
	meta := c.kind.Meta(&object)
	want := meta.Etag
	return c.Modify(ctx, meta.Key, want, func(T) (T, error) { return object, nil })
}

// Modify replaces an object by what change makes of it, and tries again when another writer was faster. With an etag it
// is a Conflict fault when the stored object has another one, and change is called at most once.
func (c *Collection[T]) Modify(ctx context.Context, key model.Key, want string, change func(T) (T, error)) (Written[T], error) {
	for {
		current, entry, err := c.get(ctx, key)
		if err != nil {
			return Written[T]{}, err
		}
		if want != "" && want != etag(entry.Revision) {
			return Written[T]{}, c.conflict(key, want, etag(entry.Revision))
		}
		next, err := change(current)
		if err != nil {
			return Written[T]{}, err
		}
		written, err := c.replace(ctx, key, entry, current, next)
		if errors.Is(err, kv.ErrConflict) {
			continue // somebody else wrote or deleted it since; read again and judge again
		}
		if err != nil {
			return Written[T]{}, c.fail(err, "update", key)
		}
		return written, nil
	}
}

func (c *Collection[T]) replace(ctx context.Context, key model.Key, entry kv.Entry, current, next T) (Written[T], error) {
	was, meta := c.kind.Meta(&current), c.kind.Meta(&next)
	meta.Key, meta.CreateTime, meta.UpdateTime = key, was.CreateTime, was.UpdateTime
	old, err := c.kind.encode(current)
	if err != nil {
		return Written[T]{}, err
	}
	raw, err := c.kind.encode(next)
	if err != nil {
		return Written[T]{}, err
	}
	if bytes.Equal(old, raw) {
		return Written[T]{Object: current, Revision: entry.Revision}, nil
	}
	meta.UpdateTime = time.Now().UTC()
	if raw, err = c.kind.encode(next); err != nil {
		return Written[T]{}, err
	}
	revision, err := c.store.Put(ctx, entry.Key, raw, kv.IfRevision(entry.Revision))
	if err != nil {
		return Written[T]{}, err
	}
	meta.Etag = etag(revision)
	return Written[T]{Object: next, Revision: revision, Changed: true}, nil
}

// Delete removes an object, with an etag only if it is still that version, and returns the revision of the removal.
func (c *Collection[T]) Delete(ctx context.Context, key model.Key, want string) (int64, error) {
	return c.Remove(ctx, key, want, func(T) error { return nil })
}

// Remove is Delete with a check that sees exactly the version that is removed.
func (c *Collection[T]) Remove(ctx context.Context, key model.Key, want string, check func(T) error) (int64, error) {
	for {
		current, entry, err := c.get(ctx, key)
		if err != nil {
			return 0, err
		}
		if want != "" && want != etag(entry.Revision) {
			return 0, c.conflict(key, want, etag(entry.Revision))
		}
		if err := check(current); err != nil {
			return 0, err
		}
		revision, err := c.store.Delete(ctx, entry.Key, kv.IfRevision(entry.Revision))
		if errors.Is(err, kv.ErrConflict) {
			continue
		}
		if err != nil {
			return 0, c.fail(err, "delete", key)
		}
		return revision, nil
	}
}

func (c *Collection[T]) conflict(key model.Key, want, current string) error {
	return Conflict(c.kind.Name, key, want, current)
}

// Conflict is the fault of a write whose etag is no longer current.
func Conflict(kind string, key model.Key, want, current string) error {
	return fault.New(fault.Conflict, "%s %q has changed: its etag is %q now, not %q; read it again", kind, key, current, want)
}

// fail names the object and tells what the caller can do: faults pass as they are.
func (c *Collection[T]) fail(err error, verb string, key model.Key) error {
	var known *fault.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, kv.ErrNotFound):
		return fault.New(fault.NotFound, "there is no %s %q", c.kind.Name, key)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s %s %q: %w", verb, c.kind.Name, key, err)
	default:
		return fault.Wrap(fault.Unavailable, err, "%s %s %q", verb, c.kind.Name, key)
	}
}

// Meta reaches what every object has, inside of the object.
func (c *Collection[T]) Meta(object *T) *model.Meta { return c.kind.Meta(object) }
