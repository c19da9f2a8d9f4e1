package proxy

import (
	"errors"
	"sync/atomic"
	"time"
)

// settleWithin bounds how long a start waits for the distributor to say that the stored configuration is the newest.
const settleWithin = 700 * time.Millisecond

// settling keeps a program from starting on a configuration that has been changed while its sidecar was away: a mode that was
// tightened, an edge that was switched off. Without a control plane there is nothing to wait for.
type settling struct {
	until time.Time
	done  atomic.Bool
}

func newSettling() *settling { return &settling{until: time.Now().Add(settleWithin)} }

// check is nil once the configuration is settled, and stays so. current: the distributor has sent everything; away: it cannot be
// reached.
func (s *settling) check(current, away bool) error {
	if s.done.Load() {
		return nil
	}
	if !current && !away && time.Now().Before(s.until) {
		return errors.New("the stored configuration is not confirmed yet")
	}
	s.done.Store(true)
	return nil
}
