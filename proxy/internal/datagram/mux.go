package datagram

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

const (
	// holdOff is how long a client's datagrams are dropped whose session has failed: a client that sends all the time must
	// not make a session of each datagram.
	holdOff = 250 * time.Millisecond
	// tellEvery is how often refusals that no session stands for are recorded.
	tellEvery = time.Second
	// The back-off of a read that failed.
	minBackoff, maxBackoff = 5 * time.Millisecond, time.Second
)

// Handler decides about sessions.
type Handler interface {
	// Carry makes the session's peer and relays, or refuses it, and returns the reason of its end. It is called in a
	// goroutine of the session's own.
	Carry(ctx context.Context, s *Session) flow.Reason
	// Refused is told of a datagram for which there is no room for a session, from time to time.
	Refused(client Client, err error)
}

// Serve makes sessions of the datagrams of p until ctx ends, which also ends them. It closes p. Once a read has run into a
// deadline p is not read any more: it was handed over.
func (x *Sessions) Serve(ctx context.Context, p Packets, h Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	end := sync.OnceFunc(func() { _ = p.Close() }) // so that Read fails; there is nothing to do about an error
	stop := context.AfterFunc(ctx, end)
	m := &mux{sessions: x, packets: p, handler: h, live: map[route]*Session{}}
	defer m.carrying.Wait()
	defer cancel()
	defer stop()
	defer end()
	buf := wire.Get(wire.Large)
	defer buf.Release()
	wait := backoff.New(minBackoff, maxBackoff)
	for {
		n, from, to, err := p.Read(buf.B)
		switch {
		case err == nil:
			wait.Reset()
			m.datagram(ctx, route{from, to}, buf.B[:n])
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			<-ctx.Done()
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("read datagrams: %w", err)
		case wait.Wait(ctx) != nil:
			return nil
		}
	}
}

// route tells sessions apart.
type route struct{ from, to netip.AddrPort }

// mux is one Packets while it is served.
type mux struct {
	sessions *Sessions
	packets  Packets
	handler  Handler
	carrying sync.WaitGroup

	mu   sync.Mutex
	live map[route]*Session
}

// datagram goes to its session, a new one if need be.
func (m *mux) datagram(ctx context.Context, r route, payload []byte) {
	if s := m.find(r); s != nil && s.Push(payload) {
		return
	}
	s := m.begin(ctx, r)
	if s == nil || !s.Push(payload) {
		m.sessions.Dropped.Refused.Add(1)
	}
}

// find returns the route's session unless it is retired.
func (m *mux) find(r route) *Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.live[r]
	if s == nil || s.retired.Load() != 0 {
		return nil
	}
	return s
}

// begin makes a session; nil: the datagram has to be dropped.
func (m *mux) begin(ctx context.Context, r route) *Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.live[r]; old != nil && old.failed() {
		return nil
	}
	client := Client{From: r.from, To: r.to}
	inner, s, err := m.sessions.Begin(ctx, client, false)
	if err != nil {
		if m.sessions.tell() {
			m.handler.Refused(client, err)
		}
		return nil
	}
	m.live[r] = s
	m.carrying.Go(func() { m.carry(ctx, inner, r, s) })
	return s
}

// carry is a session's life.
func (m *mux) carry(ctx, inner context.Context, r route, s *Session) {
	defer m.forget(r, s)
	if m.handler.Carry(inner, s) != flow.None {
		_ = backoff.Sleep(ctx, holdOff) // the end is the end either way
	}
}

func (m *mux) forget(r route, s *Session) {
	m.mu.Lock()
	if m.live[r] == s {
		delete(m.live, r)
	}
	m.mu.Unlock()
	m.sessions.Forget(s)
}

// failed says that the session has ended for a reason.
func (s *Session) failed() bool { return s.over.Load() && s.why() != flow.None }

// tell says whether a refusal is to be recorded: not each of them, there may be very many.
func (x *Sessions) tell() bool {
	now, last := time.Now().UnixNano(), x.told.Load()
	return now-last >= int64(tellEvery) && x.told.CompareAndSwap(last, now)
}

// Reply returns what delivers the peer's datagrams of a session to its client.
func Reply(p Packets, s *Session) func(payload []byte) error {
	from, to := s.To, s.From
	return func(payload []byte) error { return p.Reply(payload, from, to) }
}
