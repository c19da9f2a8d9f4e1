package state

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"sort"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/model"
)

// chunk is how many changes go into one step, so that a message on the wire stays well below the limit of its size.
const chunk = 500

// Reasons why a watcher starts anew.
const (
	ResetEpoch  = "other_epoch" // it comes from another history
	ResetTooOld = "too_old"     // it lacks changes that are no longer kept
)

// Subscribe streams steps from a revision on (the zero value: from nothing) until ctx ends or the reader stops. The reader
// sets the pace: who is slow gets more changes in one step and, when history has run past him, a reset.
//
// A watcher who has seen more than this replica waits until it has caught up: he is never taken backwards.
func (f *Feed) Subscribe(ctx context.Context, after model.Revision) iter.Seq[Step] {
	return func(yield func(Step) bool) {
		c := cursor{epoch: after.Epoch, seq: int64(after.Seq), fresh: after.Epoch == ""}
		if after.Source != f.cfg.Source {
			c.epoch = ""
		}
		for ctx.Err() == nil {
			t := f.advance(&c)
			if t.ahead && !c.synced {
				c.synced = true
				f.catchUp(ctx)
			}
			if !t.send {
				select {
				case <-t.wait:
				case <-ctx.Done():
				}
				continue
			}
			if t.reason != "" {
				f.cfg.OnReset(t.reason)
			}
			if !deliver(t, f.stamp(c.epoch, c.seq), yield) {
				return
			}
		}
	}
}

// cursor is where one watcher stands.
type cursor struct {
	epoch   string
	seq     int64
	fresh   bool // holds nothing yet
	started bool // has had its first step
	synced  bool // this replica has been asked to catch up
}

// turn is what one look at the feed yields.
type turn struct {
	send    bool
	reset   bool
	reason  string
	changes []Change
	ahead   bool
	wait    <-chan struct{}
}

func (f *Feed) advance(c *cursor) turn {
	f.mu.RLock()
	defer f.mu.RUnlock()
	switch {
	case !f.loaded || f.epoch == "":
		return turn{wait: f.changed}
	case c.epoch != f.epoch || c.seq < f.oldest:
		t := turn{send: true, reset: true, changes: f.snapshot(), reason: ResetTooOld}
		if c.fresh {
			t.reason = ""
		} else if c.epoch != f.epoch {
			t.reason = ResetEpoch
		}
		*c = cursor{epoch: f.epoch, seq: f.revision, started: true, synced: true}
		return t
	case c.seq > f.revision:
		return turn{ahead: true, wait: f.changed}
	}
	first := sort.Search(len(f.log), func(i int) bool { return f.log[i].Revision > c.seq })
	t := turn{changes: f.log[first:len(f.log):len(f.log)], wait: f.changed}
	// That nothing happened up to a revision is news too: another replica's watcher may know of that revision already, and whoever
	// moves from there to here would wait for it until something happens.
	t.send = len(t.changes) > 0 || !c.started || c.seq < f.revision
	c.seq, c.started = f.revision, true
	return t
}

// deliver cuts a turn into steps of which only the last is complete.
func deliver(t turn, revision model.Revision, yield func(Step) bool) bool {
	step := Step{Reset: t.reset, Revision: revision}
	for rest := t.changes; ; {
		n := min(len(rest), chunk)
		step.Changes, rest = rest[:n], rest[n:]
		step.Complete = len(rest) == 0
		if !yield(step) {
			return false
		}
		if step.Complete {
			return true
		}
		step.Reset = false
	}
}

// catchUp writes a mark behind everything that any replica has seen so far. The store delivers in order, so that when the
// mark arrives here, so has the rest; without it an idle replica could not tell "nothing happened" from "not yet heard".
func (f *Feed) catchUp(ctx context.Context) {
	if _, err := f.store.Put(ctx, "mark", []byte{1}, kv.Always()); err != nil && ctx.Err() == nil {
		f.cfg.Log.Warn("feed cannot make sure of having caught up", zap.Error(err))
	}
}

func sortChanges(seq iter.Seq[Change]) []Change {
	return slices.SortedFunc(seq, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), compare(a.Key, b.Key))
	})
}
