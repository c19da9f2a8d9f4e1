package discovery

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/state"
)

// leases knows whose streams this replica holds and marks workloads that nobody holds any more.
type leases struct {
	server *server

	mu       sync.Mutex
	sessions map[model.Key]*session
	suspects map[model.Key]time.Time // when a workload without a stream becomes UNKNOWN

	held    map[model.Key]bool // services in alarm; run loop only
	failing bool               // the store did not take the last marks; run loop only
}

func newLeases(s *server) *leases {
	return &leases{server: s, sessions: map[model.Key]*session{}, suspects: map[model.Key]time.Time{}, held: map[model.Key]bool{}}
}

// session is a stream that holds a workload's lease.
type session struct {
	key      model.Key
	revision int64 // of the workload as this stream stored it; guarded by leases.mu
	missing  int   // sweeps in a row that did not find the workload; run loop only
	done     chan struct{}
	why      error // set before done is closed
}

// ended is closed when somebody else ended the session. A nil session never ends.
func (s *session) ended() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.done
}

func (s *session) cause() error { return s.why }

// hold notes that a stream has stored its workload. A stream that held it before is ended: the newer one is the live one.
func (l *leases) hold(now *session, key model.Key, revision int64) *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.suspects, key)
	if now != nil && l.sessions[key] == now {
		now.revision = revision
		return now
	}
	if old := l.sessions[key]; old != nil {
		l.end(old, fault.New(fault.Unavailable, "workload %q has registered on another stream", key))
	}
	now = &session{key: key, revision: revision, done: make(chan struct{})}
	l.sessions[key] = now
	l.server.metrics.sessions.Set(float64(len(l.sessions)))
	return now
}

// release notes that a stream has broken: from now on the lease runs.
func (l *leases) release(s *session) { l.suspect(s, l.server.cfg.Lease) }

// silent notes that a stream has said nothing for a whole lease.
func (l *leases) silent(s *session) { l.suspect(s, 0) }

func (l *leases) suspect(s *session, after time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s != nil && l.sessions[s.key] == s {
		l.forget(s)
		l.suspects[s.key] = time.Now().Add(after)
	}
}

// forget drops a session. Callers hold mu.
func (l *leases) forget(s *session) {
	delete(l.sessions, s.key)
	l.server.metrics.sessions.Set(float64(len(l.sessions)))
}

// end tells a session's handler to end its stream. Callers hold mu.
func (l *leases) end(s *session, why error) {
	l.forget(s)
	s.why = why
	close(s.done)
}

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

// follow ends sessions whose workload was removed or has gone to another replica.
func (l *leases) follow(ctx context.Context) error {
	var there map[model.Key]bool // not nil while a full state arrives
	for step := range l.server.feed.Subscribe(ctx, model.Revision{}) {
		if step.Reset {
			there = map[model.Key]bool{}
		}
		for _, c := range step.Changes {
			if c.Kind == model.KindWorkload {
				l.observe(c)
				if there != nil {
					there[c.Key] = true
				}
			}
		}
		if step.Complete && there != nil {
			l.observeAll(there, int64(step.Revision.Seq))
			there = nil
		}
	}
	return nil
}

func (l *leases) observe(c state.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sessions[c.Key]
	if s == nil || c.Revision <= s.revision {
		return
	}
	w, exists := c.Object.(model.Workload)
	switch {
	case !exists:
		l.end(s, removed(c.Key))
	case w.LeaseHolder != l.server.deps.Replica:
		l.end(s, fault.New(fault.Unavailable, "workload %q has registered at another replica", c.Key))
	}
}

// observeAll ends the sessions whose workload is missing from a full state.
func (l *leases) observeAll(there map[model.Key]bool, revision int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, s := range l.sessions {
		if !there[key] && revision > s.revision {
			l.end(s, removed(key))
		}
	}
}

func removed(key model.Key) error {
	return fault.New(fault.Unavailable, "workload %q was removed; register again", key)
}

// sweep marks workloads whose lease has run out, if it may, and takes the mark back from those that are here after all.
func (l *leases) sweep(ctx context.Context, now time.Time, may bool) {
	var all []model.Workload
	for w := range state.Objects(l.server.feed, workloads().State()) {
		all = append(all, w)
	}
	due, returned := l.judge(all, now)
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

// judge tells which workloads are due and which ones that are marked are held by a stream here.
func (l *leases) judge(all []model.Workload, now time.Time) (due, returned []model.Workload) {
	live := map[string]bool{}
	for _, name := range l.server.deps.Peers() {
		live[name] = true
	}
	me := l.server.deps.Replica
	l.mu.Lock()
	defer l.mu.Unlock()
	suspects := map[model.Key]time.Time{}
	l.lookForLost(all)
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
// stream found it unchanged. Callers hold mu.
func (l *leases) lookForLost(all []model.Workload) {
	there := make(map[model.Key]bool, len(all))
	for i := range all {
		there[all[i].Key] = true
	}
	for key, s := range l.sessions {
		s.missing++
		if there[key] {
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
