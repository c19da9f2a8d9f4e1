package kv

import (
	"context"
	"strings"
	"time"
)

// Scoped returns the part of a store below a prefix: the holder cannot name a key outside of it.
func Scoped(s Store, prefix string) Store { return scoped{s, prefix} }

type scoped struct {
	Store
	prefix string
}

func (s scoped) Get(ctx context.Context, key string) (Entry, error) {
	e, err := s.Store.Get(ctx, s.prefix+key)
	e.Key = strings.TrimPrefix(e.Key, s.prefix)
	return e, err
}

func (s scoped) List(ctx context.Context, prefix string) ([]Entry, int64, error) {
	entries, rev, err := s.Store.List(ctx, s.prefix+prefix)
	for i := range entries {
		entries[i].Key = strings.TrimPrefix(entries[i].Key, s.prefix)
	}
	return entries, rev, err
}

func (s scoped) Put(ctx context.Context, key string, value []byte, c Condition) (int64, error) {
	return s.Store.Put(ctx, s.prefix+key, value, c)
}

func (s scoped) Delete(ctx context.Context, key string, c Condition) (int64, error) {
	return s.Store.Delete(ctx, s.prefix+key, c)
}

func (s scoped) Watch(ctx context.Context, prefix string, after int64) (Watch, error) {
	w, err := s.Store.Watch(ctx, s.prefix+prefix, after)
	if err != nil {
		return nil, err
	}
	return scopedWatch{w, s.prefix}, nil
}

func (s scoped) Hold(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	return s.Store.Hold(ctx, s.prefix+key, value, ttl)
}

type scopedWatch struct {
	Watch
	prefix string
}

func (w scopedWatch) Next() (Batch, error) {
	b, err := w.Watch.Next()
	for i := range b.Events {
		b.Events[i].Key = strings.TrimPrefix(b.Events[i].Key, w.prefix)
	}
	return b, err
}
