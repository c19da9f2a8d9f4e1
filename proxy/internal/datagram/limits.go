package datagram

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// The causes of ends that nobody asked for.
var (
	errStalled  = errors.New("the other end takes no datagrams")
	errNoAccess = errors.New("access or the mTLS mode has changed")
	errMode     = errors.New("the mesh accepts only mTLS now")
	errOutside  = errors.New("the mesh does not allow this destination any more")
)

// Run ends what has lived too long until ctx ends. It must run while there are sessions.
func (x *Sessions) Run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	x.now.Store(time.Now().UnixNano())
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			x.now.Store(now.UnixNano())
			for _, s := range x.list() {
				s.age(now.UnixNano(), x.draining.Load())
			}
		}
	}
}

// age ends the session if its time has come.
func (s *Session) age(now int64, draining bool) {
	since := func(at int64) time.Duration { return time.Duration(now - at) }
	idle := s.owner.cfg.Idle
	if s.reverse {
		idle += idle / 4 // the client's side ends it first, so that no datagram meets a session that has just ended here
	}
	retired := s.retired.Load()
	if draining || retired != 0 {
		idle = min(idle, quiet)
	}
	switch sending := s.sending.Load(); {
	case sending != 0 && since(sending) >= s.owner.cfg.Stall:
		s.end(flow.Timeout, errStalled)
	case !s.relayed():
		// Whoever makes the peer has limits of its own.
	case since(s.seen.Load()) >= idle, retired != 0 && since(retired) >= retiredFor:
		s.end(flow.None, nil)
	}
}

// relayed says that there is a peer.
func (s *Session) relayed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peer != nil
}

// Recheck ends every session for which permit has a reason, by now.
func (x *Sessions) Recheck(permit func(peer spiffeid.ID) flow.Reason) {
	for _, s := range x.list() {
		if reason := permit(s.Peer); reason != flow.None {
			s.end(reason, errNoAccess)
		}
	}
}

// Follow lets the sessions follow a change of the table. Where the endpoint has left, by keep, or would be reached in another
// way by now, the client's next datagram begins another session; this one still waits a moment for replies. Plaintext
// that strict mode does not allow any more ends at once, and so does a session with the outside, which has no endpoint, for
// which outside has a reason.
func (x *Sessions) Follow(mode table.MTLSMode, keep func(endpoint string) bool, outside func(to netip.AddrPort) flow.Reason) {
	r := &rule{mode: mode, keep: keep, outside: outside}
	x.rule.Store(r) // first: a session that gets its peer now is judged by itself
	for _, s := range x.list() {
		s.judge(r)
	}
}

// rule is what the newest table says of sessions.
type rule struct {
	mode    table.MTLSMode
	keep    func(endpoint string) bool
	outside func(to netip.AddrPort) flow.Reason
}

// judge does what the rule says, once there is a peer.
func (s *Session) judge(r *rule) {
	s.mu.Lock()
	there, mesh, endpoint := s.peer != nil, s.mesh, s.endpoint
	s.mu.Unlock()
	switch {
	case r == nil || !there:
	case endpoint == "":
		if reason := r.outside(s.To); reason != flow.None {
			s.end(reason, errOutside)
		}
	case !mesh && r.mode == table.Strict:
		s.end(flow.Plaintext, errMode)
	case !r.keep(endpoint) || mesh && r.mode == table.Off:
		s.retired.CompareAndSwap(0, s.owner.now.Load())
	}
}

// Drain refuses new sessions, lets those end on which nothing passes any more, and returns nil when there are none. When ctx
// ends first it cuts what is left and says how many.
func (x *Sessions) Drain(ctx context.Context) error {
	x.mu.Lock()
	x.draining.Store(true)
	empty := x.empty
	if empty == nil {
		empty = make(chan struct{})
		if len(x.all) == 0 {
			close(empty)
		} else {
			x.empty = empty
		}
	}
	x.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	if n := x.Cut(); n > 0 {
		return fmt.Errorf("drain: %d sessions of UDP cut: %w", n, context.Cause(ctx))
	}
	return nil
}

// Cut ends every session because the process ends, and returns how many there were.
func (x *Sessions) Cut() (n int) {
	for _, s := range x.list() {
		if !s.over.Load() {
			n++
		}
		s.end(flow.Draining, nil)
	}
	return n
}
