package memkv

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/services/internal/kv"
)

// Store is a kv.Store in memory, safe for concurrent use.
type Store struct {
	epoch string

	mu        sync.Mutex
	revision  int64
	compacted int64 // changes up to and including this revision are gone from history
	keys      map[string]kv.Entry
	history   []kv.Event
	changed   chan struct{} // closed and replaced at every change
	fail      []error
	closed    bool
}

var _ kv.Store = (*Store)(nil)

// New makes an empty store with an epoch of its own.
func New() *Store {
	return &Store{epoch: rand.Text(), keys: map[string]kv.Entry{}, changed: make(chan struct{}), revision: 1}
}

// FailNext makes the next call of any method but Epoch and Hold return err; several errors queue up.
func (s *Store) FailNext(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = append(s.fail, err)
}

// Compact forgets history up to and including a revision.
func (s *Store) Compact(_ context.Context, revision int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if revision > s.revision {
		return fmt.Errorf("compact to revision %d: store is at %d", revision, s.revision)
	}
	s.compacted = max(s.compacted, revision)
	s.history = slices.DeleteFunc(s.history, func(e kv.Event) bool { return e.Revision <= s.compacted })
	s.wake()
	return nil
}

// Close ends every watch and fails every later call.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.wake()
	}
	return nil
}

// Get reads one key.
func (s *Store) Get(ctx context.Context, key string) (kv.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return kv.Entry{}, fmt.Errorf("get %q: %w", key, err)
	}
	e, ok := s.keys[key]
	if !ok {
		return kv.Entry{}, fmt.Errorf("get %q: %w", key, kv.ErrNotFound)
	}
	e.Value = bytes.Clone(e.Value)
	return e, nil
}

// List reads every key below a prefix.
func (s *Store) List(ctx context.Context, prefix string) ([]kv.Entry, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, 0, fmt.Errorf("list %q: %w", prefix, err)
	}
	var entries []kv.Entry
	for _, key := range slices.Sorted(maps.Keys(s.keys)) {
		if strings.HasPrefix(key, prefix) {
			e := s.keys[key]
			e.Value = bytes.Clone(e.Value)
			entries = append(entries, e)
		}
	}
	return entries, s.revision, nil
}

// Put writes one key.
func (s *Store) Put(ctx context.Context, key string, value []byte, c kv.Condition) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, fmt.Errorf("put %q: %w", key, err)
	}
	old := s.keys[key]
	if !c.Holds(old.Revision) {
		return 0, fmt.Errorf("put %q: %w", key, kv.ErrConflict)
	}
	return s.put(key, value), nil
}

// Delete removes one key.
func (s *Store) Delete(ctx context.Context, key string, c kv.Condition) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return 0, fmt.Errorf("delete %q: %w", key, err)
	}
	old, ok := s.keys[key]
	if !ok {
		return 0, fmt.Errorf("delete %q: %w", key, kv.ErrNotFound)
	}
	if !c.Holds(old.Revision) {
		return 0, fmt.Errorf("delete %q: %w", key, kv.ErrConflict)
	}
	return s.delete(key), nil
}

// Watch streams changes after a revision.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) (kv.Watch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, fmt.Errorf("watch %q: %w", prefix, err)
	}
	return &watch{store: s, ctx: ctx, prefix: prefix, after: after}, nil
}

// Hold keeps a key until ctx ends. There is no other process that could survive this one, so the ttl means nothing here.
func (s *Store) Hold(ctx context.Context, key string, value []byte, _ time.Duration) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("hold %q: %w", key, kv.ErrClosed)
	}
	s.put(key, value)
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.keys[key]; ok && !s.closed {
		s.delete(key)
	}
	return nil
}

// Epoch is random and lasts as long as the store.
func (s *Store) Epoch(context.Context) (string, error) { return s.epoch, nil }

func (s *Store) usable(ctx context.Context) error {
	if s.closed {
		return kv.ErrClosed
	}
	if len(s.fail) > 0 {
		err := s.fail[0]
		s.fail = s.fail[1:]
		return err
	}
	return ctx.Err()
}

// put and delete are called with mu held.
func (s *Store) put(key string, value []byte) int64 {
	s.revision++
	created := s.revision
	if old, ok := s.keys[key]; ok {
		created = old.Created
	}
	value = bytes.Clone(value)
	s.keys[key] = kv.Entry{Key: key, Value: value, Revision: s.revision, Created: created}
	s.record(kv.Event{Key: key, Value: value, Revision: s.revision, Created: created})
	return s.revision
}

func (s *Store) delete(key string) int64 {
	s.revision++
	delete(s.keys, key)
	s.record(kv.Event{Key: key, Deleted: true, Revision: s.revision})
	return s.revision
}

func (s *Store) record(e kv.Event) {
	s.history = append(s.history, e)
	s.wake()
}

func (s *Store) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}
