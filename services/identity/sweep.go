package identity

import (
	"context"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// sweepEvery is the pause between two sweeps. Nothing waits for a sweep: whatever has expired is refused anyway.
const sweepEvery = time.Minute

// sweep removes what has expired from the store, until ctx ends. Every replica does it; each removal is guarded by the
// revision that was read, so that they do not disturb each other.
func (s *Service) sweep(ctx context.Context) error {
	for backoff.Sleep(ctx, sweepEvery) == nil {
		now := time.Now()
		for _, one := range []func(context.Context, time.Time) error{s.sweepJoinTokens, s.sweepAdminTokens, s.sweepHostTokens, s.sweepRoots} {
			if err := one(ctx, now); err != nil && ctx.Err() == nil {
				s.log.Warn("expired records cannot be removed", zap.Error(err))
			}
		}
	}
	return nil
}

func (s *Service) sweepJoinTokens(ctx context.Context, now time.Time) error {
	return sweepRecords(ctx, s.store, collectionJoinTokens, &identitypb.JoinTokenRecord{}, func(r *identitypb.JoinTokenRecord, e kv.Entry) error {
		if now.Before(r.GetExpireTime().AsTime()) {
			return nil
		}
		_, err := s.store.Delete(ctx, e.Key, kv.IfRevision(e.Revision))
		return err
	})
}

func (s *Service) sweepAdminTokens(ctx context.Context, now time.Time) error {
	return sweepRecords(ctx, s.store, collectionAdminTokens, &identitypb.AdminTokenRecord{}, func(r *identitypb.AdminTokenRecord, e kv.Entry) error {
		if r.GetDeleted() || !expired(r.GetAdminToken(), now) {
			return nil
		}
		_, err := s.store.Delete(ctx, e.Key, kv.IfRevision(e.Revision))
		return err
	})
}

// sweepRoots retires authorities that have expired. Nothing they signed is valid any more.
func (s *Service) sweepRoots(ctx context.Context, now time.Time) error {
	set, err := s.trust.anchors.load(ctx)
	if err != nil {
		return err
	}
	for _, a := range set.roots {
		if now.Before(a.cert.NotAfter) {
			continue
		}
		retired := &identitypb.RootRecord{Replica: a.record.GetReplica(), CreateTime: a.record.GetCreateTime(), Retired: true}
		_, err := writeRecord(ctx, s.store, a.entry.Key, retired, kv.IfRevision(a.entry.Revision))
		if err != nil && !lost(err) {
			return err
		}
		s.log.Info("expired root retired", zap.Stringer("root", a.fingerprint), zap.Time("not_after", a.cert.NotAfter))
	}
	return nil
}

// sweepRecords shows each record of a collection to judge; a record that somebody else has changed since is left to them.
func sweepRecords[M proto.Message](ctx context.Context, store kv.Store, collection string, m M, judge func(M, kv.Entry) error) error {
	entries, _, err := store.List(ctx, collection)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := decodeRecord(entry, m); err != nil {
			return err
		}
		if err := judge(m, entry); err != nil && !lost(err) {
			return err
		}
	}
	return nil
}
