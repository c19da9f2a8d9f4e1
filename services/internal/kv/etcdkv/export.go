package etcdkv

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// restoring is what the epoch reads while Replace is at work, so that nobody takes half a store for a whole one.
const restoring = "restoring since "

// exportPage is how many keys one request of Export reads.
const exportPage = 1000

// Export reads every key below a prefix as they all were at one revision, the oldest first. It leaves out what dies with its
// writer, and the epoch: another store must have one of its own.
func (s *Store) Export(ctx context.Context, prefix string) ([]kv.Entry, int64, error) {
	var out []kv.Entry
	revision, err := s.scan(ctx, prefix, func(e *mvccpb.KeyValue) {
		if e.Lease == 0 {
			out = append(out, kv.Entry{Key: string(e.Key), Value: e.Value, Revision: e.ModRevision, Created: e.CreateRevision})
		}
	})
	slices.SortStableFunc(out, func(a, b kv.Entry) int { return cmp.Compare(a.Created, b.Created) })
	return out, revision, err
}

// scan calls each with every key below a prefix but the epoch, all as they were at one revision.
func (s *Store) scan(ctx context.Context, prefix string, each func(*mvccpb.KeyValue)) (revision int64, err error) {
	for next, end := prefix, clientv3.GetPrefixRangeEnd(prefix); ; {
		page, err := s.exportPage(ctx, next, end, revision)
		if err != nil {
			return 0, err
		}
		if revision == 0 { // of the first page: the others are read as they were then
			revision = page.Header.GetRevision()
		}
		for _, e := range page.Kvs {
			if string(e.Key) != epochKey {
				each(e)
			}
		}
		if !page.More {
			return revision, nil
		}
		next = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

func (s *Store) exportPage(ctx context.Context, from, end string, revision int64) (*clientv3.GetResponse, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	resp, err := s.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(exportPage), clientv3.WithRev(revision))
	if err != nil {
		return nil, wrap(ctx, err, "export", from)
	}
	return resp, nil
}

// Vacant says why Replace must not put anything below a prefix: living processes, or without force that there is something.
func (s *Store) Vacant(ctx context.Context, prefix string, force bool) error {
	there, err := s.count(ctx, prefix)
	switch {
	case err != nil:
		return err
	case there.living > 0:
		return fault.New(fault.Conflict, "the store is in use: %d entries of running processes are in it; stop every process of the control plane (one that was killed counts for 10 s more)",
			there.living)
	case there.keys > 0 && !force:
		return fault.New(fault.Conflict, "the store is not empty: it holds %d keys below %s; --force replaces them", there.keys, prefix)
	}
	return nil
}

// Replace puts other entries in the place of everything below a prefix, each at a revision of its own in the order given, and
// ends with a new epoch. It refuses what Vacant refuses. Who opens the store meanwhile, or after a Replace that broke off, waits;
// Replace with force takes it up again.
func (s *Store) Replace(ctx context.Context, prefix string, entries []kv.Entry, force bool) error {
	if err := s.Vacant(ctx, prefix, force); err != nil {
		return err
	}
	if err := s.write(ctx, clientv3.OpPut(epochKey, restoring+time.Now().UTC().Format(time.RFC3339))); err != nil {
		return err
	}
	if err := s.clear(ctx, prefix); err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Key, prefix) || e.Key == epochKey {
			return fault.New(fault.Invalid, "key %q does not belong below %s", e.Key, prefix)
		}
		if err := s.write(ctx, clientv3.OpPut(e.Key, string(e.Value))); err != nil {
			return err
		}
	}
	return s.write(ctx, clientv3.OpPut(epochKey, strings.ToLower(rand.Text()[:10])))
}

// contents is what lies below a prefix, the epoch aside.
type contents struct{ keys, living int }

func (s *Store) count(ctx context.Context, prefix string) (contents, error) {
	var c contents
	_, err := s.scan(ctx, prefix, func(e *mvccpb.KeyValue) {
		if e.Lease != 0 {
			c.living++
		} else {
			c.keys++
		}
	})
	return c, err
}

// clear removes everything below a prefix but the epoch.
func (s *Store) clear(ctx context.Context, prefix string) error {
	if err := s.write(ctx, clientv3.OpDelete(prefix, clientv3.WithRange(epochKey))); err != nil {
		return err
	}
	return s.write(ctx, clientv3.OpDelete(epochKey+"\x00", clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix))))
}

func (s *Store) write(ctx context.Context, op clientv3.Op) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if _, err := s.client.Do(ctx, op); err != nil {
		return wrap(ctx, err, "restore", string(op.KeyBytes()))
	}
	return nil
}

// whole says that a name of an epoch is not that of a store that is being restored.
func whole(name string) error {
	if since, yes := strings.CutPrefix(name, restoring); yes {
		return fault.New(fault.Unavailable, "the store is being restored since %s; if that broke off, restore again with --force", since)
	}
	return nil
}
