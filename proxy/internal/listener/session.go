package listener

import (
	"net"
	"sync/atomic"
)

// Session is an accepted connection.
type Session struct {
	net.Conn

	loop  *Loop
	from  net.Listener
	state atomic.Int32
}

// The states of a session. A new one is busy: nobody knows yet what it wants.
const (
	busy int32 = iota
	idle
	ended
)

// Idle marks that the session waits for another request; it may be closed in the meantime. It reports false when the loop
// drains: then the session should end instead.
func (s *Session) Idle() bool {
	if s.loop.Draining() {
		return false
	}
	s.state.CompareAndSwap(busy, idle)
	// Draining that began in between leaves the session a grace, like any other idle one.
	return true
}

// Busy marks the beginning of an exchange. It reports false when the session was ended while idle.
func (s *Session) Busy() bool {
	return s.state.CompareAndSwap(idle, busy) || s.state.Load() == busy
}

// Draining says that this exchange should be the session's last.
func (s *Session) Draining() bool { return s.loop.Draining() }

// endIdle closes the session if it is idle.
func (s *Session) endIdle() {
	if s.state.CompareAndSwap(idle, ended) {
		s.Conn.Close()
	}
}
