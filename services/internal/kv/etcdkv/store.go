package etcdkv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// callTimeout bounds a call: etcd's client otherwise waits as long as it may for a cluster that is away. It is shorter than
// what callers of services give, so that they hear that the store is away and not that somebody was too slow.
const callTimeout = 10 * time.Second

// Store is a kv.Store in etcd, safe for concurrent use.
type Store struct {
	client *clientv3.Client
	log    *zap.Logger
}

var _ kv.Store = (*Store)(nil)

// New makes a store of a client, which it owns from then on.
func New(client *clientv3.Client, log *zap.Logger) *Store { return &Store{client: client, log: log} }

// Close closes the client: watches end and later calls fail.
func (s *Store) Close() error {
	if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) { // which is how it says that it was open
		return fmt.Errorf("close etcd client: %w", err)
	}
	return nil
}

// Get reads one key, as of the last write that anybody has seen acknowledged.
func (s *Store) Get(ctx context.Context, key string) (kv.Entry, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	resp, err := s.client.Get(ctx, key)
	if err != nil {
		return kv.Entry{}, wrap(ctx, err, "get", key)
	}
	if len(resp.Kvs) == 0 {
		return kv.Entry{}, fmt.Errorf("get %q: %w", key, kv.ErrNotFound)
	}
	e := resp.Kvs[0]
	return kv.Entry{Key: key, Value: e.Value, Revision: e.ModRevision, Created: e.CreateRevision}, nil
}

// List reads every key below a prefix in one request, which etcd answers at one revision.
func (s *Store) List(ctx context.Context, prefix string) ([]kv.Entry, int64, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	resp, err := s.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, wrap(ctx, err, "list", prefix)
	}
	entries := make([]kv.Entry, 0, len(resp.Kvs))
	for _, e := range resp.Kvs {
		entries = append(entries, kv.Entry{Key: string(e.Key), Value: e.Value, Revision: e.ModRevision, Created: e.CreateRevision})
	}
	return entries, resp.Header.Revision, nil
}

// Put writes one key.
func (s *Store) Put(ctx context.Context, key string, value []byte, c kv.Condition) (int64, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	resp, err := s.client.Txn(ctx).If(guard(key, c)...).Then(clientv3.OpPut(key, string(value))).Commit()
	if err != nil {
		return 0, wrap(ctx, err, "put", key)
	}
	if !resp.Succeeded {
		return 0, fmt.Errorf("put %q: %w", key, kv.ErrConflict)
	}
	return resp.Header.Revision, nil
}

// Delete removes one key.
func (s *Store) Delete(ctx context.Context, key string, c kv.Condition) (int64, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	exists := clientv3.Compare(clientv3.CreateRevision(key), ">", 0)
	resp, err := s.client.Txn(ctx).If(append(guard(key, c), exists)...).
		Then(clientv3.OpDelete(key)).
		Else(clientv3.OpGet(key, clientv3.WithCountOnly())).Commit()
	switch {
	case err != nil:
		return 0, wrap(ctx, err, "delete", key)
	case resp.Succeeded:
		return resp.Header.Revision, nil
	case resp.Responses[0].GetResponseRange().Count == 0:
		return 0, fmt.Errorf("delete %q: %w", key, kv.ErrNotFound)
	default:
		return 0, fmt.Errorf("delete %q: %w", key, kv.ErrConflict)
	}
}

// Compact forgets history up to and including a revision.
func (s *Store) Compact(ctx context.Context, revision int64) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if _, err := s.client.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil {
		return wrap(ctx, err, "compact", fmt.Sprint(revision))
	}
	return nil
}

// guard is a condition as etcd compares it. IfRevision(0) must never hold, and etcd takes 0 for "no such key".
func guard(key string, c kv.Condition) []clientv3.Cmp {
	switch kind, revision := c.Kind(); kind {
	case 1:
		return []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}
	case 2:
		return []clientv3.Cmp{
			clientv3.Compare(clientv3.ModRevision(key), "=", revision),
			clientv3.Compare(clientv3.CreateRevision(key), ">", 0),
		}
	default:
		return nil
	}
}

func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callTimeout)
}

// wrap names what was done and turns etcd's errors into the store's. What etcd says about its own health is a fault of kind
// Unavailable; what it refuses is ours to mend.
func wrap(ctx context.Context, err error, verb, key string) error {
	what := fmt.Sprintf("%s %q", verb, key)
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	if errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("%s: %w", what, kv.ErrCompacted)
	}
	var refused rpctypes.EtcdError
	if errors.As(err, &refused) {
		switch refused.Code() {
		case codes.InvalidArgument, codes.PermissionDenied, codes.FailedPrecondition, codes.ResourceExhausted, codes.Unauthenticated:
			return fault.New(fault.Internal, "%s: the store refuses it: %v", what, err)
		}
	}
	// The cause is only told: its gRPC status is between this process and etcd, and must not become an answer of ours.
	return fault.New(fault.Unavailable, "%s: the store does not answer: %v", what, err)
}
