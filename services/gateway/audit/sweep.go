package audit

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/services/internal/kv"
)

// sweepEvery is the longest pause between two looks at what is too old. A replica that has written a tenth of what may be kept
// looks at once, so that each replica adds at most that much to the bound.
const sweepEvery = 10 * time.Minute

// Run removes what is too old or too much until ctx ends. Every replica does; a key that another one has removed is gone.
func (l *Log) Run(ctx context.Context) error {
	for {
		timer := time.NewTimer(sweepEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-l.full:
			timer.Stop()
		}
		if err := l.sweep(ctx); err != nil && ctx.Err() == nil {
			l.deps.Log.Warn("old audit events cannot be removed", zap.Error(err))
		}
	}
}

func (l *Log) sweep(ctx context.Context) error {
	entries, _, err := l.deps.Store.List(ctx, prefix)
	if err != nil {
		return err
	}
	oldest := key(l.deps.Now().Add(-l.cfg.MaxAge))
	for i, e := range entries {
		if len(entries)-i <= l.cfg.MaxEvents && strings.Compare(e.Key, oldest) >= 0 {
			return nil // the rest is younger and few enough
		}
		if _, err := l.deps.Store.Delete(ctx, e.Key, kv.Always()); err != nil && !errors.Is(err, kv.ErrNotFound) {
			return err
		}
	}
	return nil
}
