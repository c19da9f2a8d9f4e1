package discovery

import (
	"context"
	"sync"
	"time"

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
		l.end(old, fault.New(fault.Unavailable, "workload %q has registered on another stream; if that goes on, two programs run under one name", key))
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

func (l *leases) acquit(key model.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.suspects, key)
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

// follow ends sessions whose workload was removed or has gone to another replica.
func (l *leases) follow(ctx context.Context) error {
	var there map[model.Key]bool // not nil while a full state arrives
	epoch := ""
	for step := range l.server.feed.Subscribe(ctx, model.Revision{}) {
		if step.Reset {
			there = map[model.Key]bool{}
		}
		if epoch != "" && step.Revision.Epoch != epoch {
			l.otherStore()
		}
		epoch = step.Revision.Epoch
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

// otherStore forgets at which revisions sessions stored their workloads: another store counts anew.
func (l *leases) otherStore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sessions {
		s.revision = 0
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
