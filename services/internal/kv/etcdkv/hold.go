package etcdkv

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// farewell bounds the removal of a held key when its holder ends; after it the lease does the rest.
const farewell = 2 * time.Second

// Hold keeps a key on a lease, and makes both anew when the lease was lost because the cluster was away for longer than ttl.
func (s *Store) Hold(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	retry := backoff.New(50*time.Millisecond, time.Second)
	for {
		lease, err := s.claim(ctx, key, value, ttl)
		if err == nil {
			retry.Reset()
			s.keepAlive(ctx, key, lease)
			s.release(ctx, lease)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case s.client.Ctx().Err() != nil:
			return fmt.Errorf("hold %q: %w", key, kv.ErrClosed)
		case err != nil:
			s.log.Debug("key not held; trying on", zap.String("key", key), zap.Error(err))
		default:
			s.log.Warn("lease of a held key was lost; claiming it anew", zap.String("key", key))
		}
		if retry.Wait(ctx) != nil {
			return nil
		}
	}
}

// claim writes the key on a new lease, whoever held it before.
func (s *Store) claim(ctx context.Context, key string, value []byte, ttl time.Duration) (clientv3.LeaseID, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	seconds := int64((ttl + time.Second - 1) / time.Second)
	grant, err := s.client.Grant(ctx, seconds)
	if err != nil {
		return 0, wrap(ctx, err, "hold", key)
	}
	if _, err := s.client.Put(ctx, key, string(value), clientv3.WithLease(grant.ID)); err != nil {
		s.release(ctx, grant.ID)
		return 0, wrap(ctx, err, "hold", key)
	}
	return grant.ID, nil
}

// keepAlive returns when ctx ends or the lease is lost.
func (s *Store) keepAlive(ctx context.Context, key string, lease clientv3.LeaseID) {
	alive, err := s.client.KeepAlive(ctx, lease)
	if err != nil {
		s.log.Debug("lease of a held key cannot be kept", zap.String("key", key), zap.Error(err))
		return
	}
	for range alive { // ends with ctx, with the lease, and with the client
	}
}

// release revokes a lease, and with it removes the key. When that fails the lease runs out by itself.
func (s *Store) release(ctx context.Context, lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if _, err := s.client.Revoke(ctx, lease); err != nil && !errors.Is(err, context.Canceled) {
		s.log.Debug("lease not revoked; it will run out", zap.Error(err))
	}
}
