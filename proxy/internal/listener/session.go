package listener

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// Session is an accepted connection.
type Session struct {
	net.Conn

	loop  *Loop
	from  net.Listener
	peer  netip.Addr
	over  error
	state atomic.Int32
}

// The states of a session. A new one is busy: nobody knows yet what it wants.
const (
	busy int32 = iota
	idle
	ended
)

// Idle marks that the session waits for another request; it may be closed in the meantime. When the loop drains already, the
// session has the same grace as those that were idle when draining began: its last response, which did not announce an end, was
// on its way then, and so may be the next request.
func (s *Session) Idle() {
	s.state.CompareAndSwap(busy, idle)
	if s.loop.Draining() {
		time.AfterFunc(idleGrace, s.endIdle)
	}
}

// Busy marks the beginning of an exchange. It reports false when the session was ended while idle.
func (s *Session) Busy() bool {
	return s.state.CompareAndSwap(idle, busy) || s.state.Load() == busy
}

// Refused is why the session must not be served but told so, if it can be told, and ended; nil: it may be served. It is cut
// before long in any case.
func (s *Session) Refused() error { return s.over }

// Draining says that this exchange should be the session's last.
func (s *Session) Draining() bool { return s.over != nil || s.loop.Draining() }

// endIdle closes the session if it is idle.
func (s *Session) endIdle() {
	if s.state.CompareAndSwap(idle, ended) {
		s.Conn.Close()
	}
}
