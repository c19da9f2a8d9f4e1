package etcdkv

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// progressEvery is how long a watch rests before it asks how far it is. All watches of a client share one stream and hear each
// answer, so that however many rest, about one of them asks.
const progressEvery = time.Second

// errOtherStore ends a watch whose cluster was replaced.
var errOtherStore = errors.New("another store answers than the one that was watched: it has been restored or made anew")

// watch is one watch; for one goroutine.
type watch struct {
	client  *clientv3.Client
	cluster uint64          // id of the cluster that it watches; 0 until the first response
	ctx     context.Context // the watch's own life, as the Store interface defines it
	prefix  string
	events  clientv3.WatchChan
	at      int64
	rest    *time.Timer
	silent  int // how often it has asked in vain since the last response
}

// Watch streams changes after a revision. The client resumes by itself when a connection or a member is lost; it ends the
// watch when its member has lost the leader for long, so that a cut-off member does not look like a quiet store. It would also
// resume at a cluster that was restored from a snapshot behind the same address, and wait there, without a word, for revisions
// that are long in coming; so a watch that hears nothing looks whose cluster it is.
func (s *Store) Watch(ctx context.Context, prefix string, after int64) (kv.Watch, error) {
	ctx = clientv3.WithRequireLeader(ctx)
	// Fragments keep a burst below gRPC's message size; the client puts them together before it delivers.
	events := s.client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1), clientv3.WithProgressNotify(), clientv3.WithFragment(),
		clientv3.WithCreatedNotify())
	return &watch{client: s.client, ctx: ctx, prefix: prefix, events: events, at: after, rest: time.NewTimer(progressEvery)}, nil
}

// Next returns the next whole revisions. etcd never splits a revision over two responses.
func (w *watch) Next() (kv.Batch, error) {
	for {
		select {
		case resp, ok := <-w.events:
			if !ok {
				return kv.Batch{}, w.ended(nil)
			}
			if err := resp.Err(); err != nil {
				return kv.Batch{}, w.ended(err)
			}
			if !w.sameStore(resp.Header.GetClusterId()) {
				return kv.Batch{}, w.ended(errOtherStore)
			}
			w.silent = 0
			w.rest.Reset(progressEvery)
			if batch := toBatch(resp); batch.Revision > w.at {
				w.at = batch.Revision
				return batch, nil
			}
		case <-w.rest.C:
			w.rest.Reset(progressEvery)
			if err := w.askProgress(); err != nil {
				return kv.Batch{}, w.ended(err)
			}
		case <-w.ctx.Done():
			return kv.Batch{}, w.ended(nil)
		}
	}
}

func (w *watch) sameStore(cluster uint64) bool {
	if w.cluster == 0 {
		w.cluster = cluster
	}
	return cluster == 0 || w.cluster == cluster // a response that is made up by the client names none
}

// patience is how often a watch asks in vain before it looks whose cluster it is. etcd tells no progress to a watch that waits
// for a revision that is still to come, which is what a watch of the replaced store looks like to the new one.
const patience = 2

// askProgress makes etcd say how far the watch is. Without an answer nothing is lost but some advance; it returns an error only
// when another cluster answers.
func (w *watch) askProgress() error {
	ctx, cancel := context.WithTimeout(w.ctx, progressEvery)
	defer cancel()
	if w.silent++; w.silent > patience {
		resp, err := w.client.Get(ctx, epochKey, clientv3.WithCountOnly())
		if err == nil && !w.sameStore(resp.Header.GetClusterId()) {
			return errOtherStore
		}
	}
	_ = w.client.RequestProgress(ctx)
	return nil
}

func (w *watch) ended(err error) error {
	w.rest.Stop()
	what := fmt.Sprintf("watch %q after revision %d", w.prefix, w.at)
	switch {
	case w.ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, w.ctx.Err())
	case err == nil:
		return fmt.Errorf("%s: %w", what, kv.ErrClosed)
	}
	if out := wrap(w.ctx, err, "watch", w.prefix); errors.Is(out, kv.ErrCompacted) {
		return out
	}
	return fault.New(fault.Unavailable, "%s: %v", what, err)
}

// toBatch takes the revision from the last event: the header's may be ahead of what the watch has delivered. Only a progress
// notice vouches for it.
func toBatch(resp clientv3.WatchResponse) kv.Batch {
	if resp.IsProgressNotify() {
		return kv.Batch{Revision: resp.Header.Revision}
	}
	var b kv.Batch
	for _, e := range resp.Events {
		ev := kv.Event{Key: string(e.Kv.Key), Revision: e.Kv.ModRevision}
		if e.Type == clientv3.EventTypeDelete {
			ev.Deleted = true
		} else {
			ev.Value, ev.Created = e.Kv.Value, e.Kv.CreateRevision
		}
		b.Events = append(b.Events, ev)
		b.Revision = ev.Revision
	}
	return b
}
