package memkv

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/services/internal/kv"
)

// watch reads the store's history from where it is; it holds no queue that could overflow. For one goroutine.
type watch struct {
	store  *Store
	ctx    context.Context // the watch's own life, as the Store interface defines it
	prefix string
	after  int64
}

// Next returns what has happened since the last call, or waits for it.
func (w *watch) Next() (kv.Batch, error) {
	for {
		batch, changed, err := w.poll()
		if err != nil {
			return kv.Batch{}, fmt.Errorf("watch %q after revision %d: %w", w.prefix, w.after, err)
		}
		if batch.Revision > w.after {
			w.after = batch.Revision
			return batch, nil
		}
		select {
		case <-changed:
		case <-w.ctx.Done():
		}
	}
}

func (w *watch) poll() (kv.Batch, <-chan struct{}, error) {
	s := w.store
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case w.ctx.Err() != nil:
		return kv.Batch{}, nil, w.ctx.Err()
	case s.closed:
		return kv.Batch{}, nil, kv.ErrClosed
	case w.after < s.compacted:
		return kv.Batch{}, nil, kv.ErrCompacted
	}
	batch := kv.Batch{Revision: s.revision}
	for _, e := range s.history {
		if e.Revision > w.after && strings.HasPrefix(e.Key, w.prefix) {
			e.Value = bytes.Clone(e.Value)
			batch.Events = append(batch.Events, e)
		}
	}
	return batch, s.changed, nil
}
