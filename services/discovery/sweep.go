package discovery

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/state"
)

// run watches over leases until ctx ends.
func (l *leases) run(ctx context.Context) error {
	ticker := time.NewTicker(l.server.cfg.Sweep)
	defer ticker.Stop()
	var since time.Time // when this replica began to know who holds what
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			if l.server.feed.Ready() != nil {
				continue
			}
			if since.IsZero() {
				since = now
			}
			l.sweep(ctx, now, now.Sub(since) >= l.patience())
		}
	}
}

// patience is how long the sidecars of a replica that died, or of this one before it was started, may take to come back.
func (l *leases) patience() time.Duration { return l.server.cfg.Lease + l.server.cfg.Reconnect }

// sweep marks workloads whose lease has run out, if it may, and takes the mark back from those that are here after all.
func (l *leases) sweep(ctx context.Context, now time.Time, may bool) {
	var all []model.Workload
	seen := l.server.feed.Seen()
	for w := range state.Objects(l.server.feed, workloads().State()) {
		all = append(all, w)
	}
	due, returned := l.judge(all, seen, now)
	marks := make([]mark, 0, len(due)+len(returned))
	for _, w := range returned {
		marks = append(marks, mark{w, model.WorkloadReady})
	}
	losses := l.guard(all, now)
	held := 0
	for _, w := range due {
		switch {
		case !may:
		case l.alarm(&w, losses):
			held++
		default:
			marks = append(marks, mark{w, model.WorkloadUnknown})
		}
	}
	l.server.metrics.held.Set(float64(held))
	l.calm(losses)
	l.apply(ctx, marks)
}

// judge tells which workloads are due and which ones that are marked are held by a stream here. All is what there is at a
// revision of the store, or later.
func (l *leases) judge(all []model.Workload, seen int64, now time.Time) (due, returned []model.Workload) {
	live := map[string]bool{}
	for _, name := range l.server.deps.Peers() {
		live[name] = true
	}
	me := l.server.deps.Replica
	l.mu.Lock()
	defer l.mu.Unlock()
	suspects := map[model.Key]time.Time{}
	l.lookForLost(all, seen)
	for _, w := range all {
		here := w.LeaseHolder == me && l.sessions[w.Key] != nil
		switch {
		case w.LeaseHolder == "", here && w.State != model.WorkloadUnknown:
		case here:
			returned = append(returned, w)
		case w.State == model.WorkloadUnknown, w.LeaseHolder != me && live[w.LeaseHolder]:
		default:
			deadline, known := l.suspects[w.Key]
			if !known {
				deadline = now.Add(l.patience())
			}
			suspects[w.Key] = deadline
			if !now.Before(deadline) {
				due = append(due, w)
			}
		}
	}
	l.suspects = suspects
	return due, returned
}

// lookForLost ends sessions whose workload has been missing for several sweeps: it was removed in the moment in which the
// stream found it unchanged. A workload that was stored after what this replica has heard of is not missing. Callers hold mu.
func (l *leases) lookForLost(all []model.Workload, seen int64) {
	there := make(map[model.Key]bool, len(all))
	for i := range all {
		there[all[i].Key] = true
	}
	for key, s := range l.sessions {
		s.missing++
		if there[key] || s.revision > seen {
			s.missing = 0
		}
		if s.missing >= 3 {
			l.end(s, removed(key))
		}
	}
}

// mark is a wanted change of a workload's state.
type mark struct {
	workload model.Workload
	to       model.WorkloadState
}

// apply makes the changes to those workloads that are still the versions that were judged. When the store is away the rest
// waits for the next sweep.
func (l *leases) apply(ctx context.Context, marks []mark) {
	for _, m := range marks {
		key := m.workload.Key
		_, err := l.server.workloads.Collection().Modify(ctx, key, m.workload.Etag, func(now model.Workload) (model.Workload, error) {
			now.State = m.to
			return now, nil
		})
		switch {
		case err == nil:
			if m.to == model.WorkloadUnknown {
				l.server.metrics.expired.Inc()
				l.acquit(key) // who says that it is alive gets the whole time again
			}
			l.server.deps.Log.Info("lease decided the state of a workload", zap.Stringer("workload", key),
				zap.String("lease_holder", m.workload.LeaseHolder), zap.Bool("ready", m.to == model.WorkloadReady))
		case fault.Is(err, fault.Conflict), fault.Is(err, fault.NotFound): // it has changed since; judge it anew
		case ctx.Err() != nil:
			return
		default:
			if !l.failing {
				l.server.deps.Log.Warn("states of workloads cannot be stored, trying again", zap.Error(err))
			}
			l.failing = true
			return
		}
	}
	l.failing = false
}
