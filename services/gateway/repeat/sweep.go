package repeat

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// sweepEvery is the pause between two sweeps. Nothing waits for one: what has expired is worth nothing anyway.
const sweepEvery = 5 * time.Minute

// Run removes what has expired until ctx ends. Every replica does; what another has renewed since stays.
func (k *Keeper) Run(ctx context.Context) error {
	for backoff.Sleep(ctx, sweepEvery) == nil {
		if err := k.sweep(ctx); err != nil && ctx.Err() == nil {
			k.log.Warn("expired idempotency keys cannot be removed", zap.Error(err))
		}
	}
	return nil
}

func (k *Keeper) sweep(ctx context.Context) error {
	entries, _, err := k.store.List(ctx, prefix)
	if err != nil {
		return err
	}
	for _, e := range entries {
		record := &adminpb.IdempotencyRecord{}
		if err := proto.Unmarshal(e.Value, record); err == nil && k.now().Before(record.GetExpireTime().AsTime()) {
			continue
		}
		_, err := k.store.Delete(ctx, e.Key, kv.IfRevision(e.Revision))
		if err != nil && !errors.Is(err, kv.ErrConflict) && !errors.Is(err, kv.ErrNotFound) {
			return err
		}
	}
	return nil
}
