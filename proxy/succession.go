package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/control"
	"github.com/weft-mesh/weft/proxy/internal/successor"
	"github.com/weft-mesh/weft/proxy/internal/tenure"
)

// firstWord is how long whoever opens the control socket may take to say what for.
const firstWord = 10 * time.Second

// What keeps a sidecar from giving its place away.
var (
	errBusy    = errors.New("another upgrade is under way")
	errOver    = errors.New("this process has given its place to another one already")
	errSlow    = errors.New("the new process was not ready in time")
	errNoStart = errors.New("nothing here can start the new process: start it with --take-over")
)

// succession is how the sidecar's process gives its place to another one.
type succession struct {
	sidecar *sidecar
	starter successor.Starter
	log     *zap.Logger
	// identity and config write to the state directory: the next process has to find it at rest.
	identity, config *tenure.Pausable

	one           sync.Mutex   // held during an upgrade
	starting      atomic.Bool  // a process has been started that will ask
	arrivals      chan arrival // of the process that was started, to the upgrade that waits for it
	conversations sync.WaitGroup
}

// arrival is a process that wants to take over.
type arrival struct {
	conn    *control.Conn
	pid     int
	version string
	done    chan struct{} // closed when conn is not used any more
}

func newSuccession(s *sidecar) *succession {
	return &succession{
		sidecar: s, starter: s.cfg.Upgrade.Starter, log: s.log.Named("upgrade"), arrivals: make(chan arrival),
		identity: tenure.NewPausable(s.identity.Run), config: tenure.NewPausable(s.config.Run),
	}
}

// Run takes requests until ctx ends: during the tenure, and afterwards only to the end of those that it has taken.
func (u *succession) Run(ctx context.Context) error {
	err := u.sidecar.tenure.During(func(inner context.Context) error {
		var listening sync.WaitGroup
		defer listening.Wait()
		listening.Go(func() { u.signals(ctx, inner) })
		return u.accept(ctx, inner)
	})(ctx)
	u.conversations.Wait()
	return err
}

// signals takes the requests that come without a command, until ctx ends; the upgrades live as long as life.
func (u *succession) signals(life, ctx context.Context) {
	for {
		select {
		case <-u.sidecar.cfg.Upgrade.Requests:
			u.conversations.Go(func() {
				if _, err := u.upgrade(life, ""); err != nil {
					u.log.Error("upgrade did not happen, everything is as before", zap.Error(err))
				}
			})
		case <-ctx.Done():
			return
		}
	}
}

// accept serves the control socket until ctx ends; conversations live as long as life.
func (u *succession) accept(life, ctx context.Context) error {
	ln := u.sidecar.listeners.control
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })()
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		u.conversations.Go(func() {
			defer func() { _ = conn.Close() }()
			u.converse(life, conn)
		})
	}
}

// converse answers one request.
func (u *succession) converse(ctx context.Context, conn *control.Conn) {
	limit, cancel := context.WithTimeout(ctx, firstWord)
	m, f, err := conn.Receive(limit)
	cancel()
	if f != nil {
		f.Close()
	}
	switch {
	case err != nil: // nobody to answer
	case m.Kind == control.Upgrade:
		next, err := u.upgrade(ctx, m.Binary)
		answer := control.Message{Kind: control.Upgraded, PID: next.pid, Version: next.version}
		if err != nil {
			u.log.Error("upgrade did not happen, everything is as before", zap.Error(err))
			answer.Error = err.Error()
		}
		_ = conn.Send(answer) // who has gone does not want to know
	case m.Kind == control.TakeOver:
		a := arrival{conn, m.PID, m.Version, make(chan struct{})}
		u.arrived(ctx, a)
	}
}

// arrived takes a process to the upgrade that has started it, or is an upgrade of its own.
func (u *succession) arrived(ctx context.Context, a arrival) {
	if u.starting.Load() {
		limit, cancel := context.WithTimeout(ctx, firstWord)
		defer cancel()
		select {
		case u.arrivals <- a:
			<-a.done
		case <-limit.Done(): // it was not the one that is waited for
		}
		return
	}
	if err := u.unasked(ctx, a); err != nil {
		u.log.Error("upgrade did not happen, everything is as before", zap.Int("pid", a.pid), zap.Error(err))
	}
}

// unasked is the upgrade to a process that somebody else has started.
func (u *succession) unasked(ctx context.Context, a arrival) error {
	if err := u.begin(); err != nil {
		return err
	}
	defer u.one.Unlock()
	limit, cancel := context.WithTimeoutCause(ctx, u.sidecar.cfg.Upgrade.Timeout, errSlow)
	defer cancel()
	return u.handOver(limit, a, nil)
}

// upgrade starts a new process, waits until it has taken over, and returns who it is. On an error everything is as before, and
// there is no new process.
func (u *succession) upgrade(ctx context.Context, binary string) (arrival, error) {
	if u.starter == nil {
		return arrival{}, errNoStart
	}
	if err := u.begin(); err != nil {
		return arrival{}, err
	}
	defer u.one.Unlock()
	limit, cancel := context.WithTimeoutCause(ctx, u.sidecar.cfg.Upgrade.Timeout, errSlow)
	defer cancel()
	u.starting.Store(true)
	defer u.starting.Store(false)
	next, err := u.starter.Start(limit, binary)
	if err != nil {
		return arrival{}, err
	}
	u.log.Info("new process has been started", zap.Int("pid", next.PID()))
	var a arrival
	select {
	case a = <-u.arrivals:
		err = u.handOver(limit, a, next.Ended())
		close(a.done)
	case why := <-next.Ended():
		err = fmt.Errorf("the new process ended before it took over: %w", why)
	case <-limit.Done():
		err = context.Cause(limit)
	}
	if err != nil {
		next.End()
		return arrival{}, err
	}
	next.Done()
	return a, nil
}

// begin says whether this process may give its place away now; one is held if it may.
func (u *succession) begin() error {
	if !u.one.TryLock() {
		return errBusy
	}
	err := u.sidecar.started()
	if u.sidecar.tenure.Ended() {
		err = errOver
	}
	if err != nil {
		u.one.Unlock()
	}
	return err
}

// handOver gives everything to a process that asked for it, and the place once it is ready.
func (u *succession) handOver(ctx context.Context, a arrival, ended <-chan error) (err error) {
	s := u.sidecar
	// Nothing waits longer for a process that does not read or say anything.
	defer context.AfterFunc(ctx, func() { _ = a.conn.Close() })()
	for _, part := range []*tenure.Pausable{u.config, u.identity} {
		resume, err := part.Pause(ctx)
		if err != nil {
			return context.Cause(ctx)
		}
		defer func() {
			if !s.tenure.Ended() {
				resume()
			}
		}()
	}
	if err := u.offer(a.conn); err != nil {
		return fmt.Errorf("the new process ended before it took over: %w", u.why(ctx, ended, err))
	}
	m, err := a.conn.Expect(ctx, control.Ready)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("the new process ended before it took over: %w", u.why(ctx, ended, err))
	case m.Error != "":
		return fmt.Errorf("the new process cannot take over: %s", m.Error)
	}
	// From here on there is no way back.
	s.tenure.End()
	s.traffic.leave()
	err = errors.Join(a.conn.Send(control.Message{Kind: control.Yours}), s.dir.Release())
	u.log.Info("another process has taken over", zap.Int("pid", a.pid), zap.String("version", a.version), zap.Error(err))
	return nil
}

// why prefers what the system says of the end of a process to what its socket says.
func (u *succession) why(ctx context.Context, ended <-chan error, err error) error {
	select {
	case why := <-ended:
		return why
	case <-ctx.Done():
		return err
	}
}

// offer sends everything that the next process needs and cannot read from the state directory.
func (u *succession) offer(conn *control.Conn) error {
	s := u.sidecar
	sockets := s.listeners.sockets
	for name, socket := range sockets {
		if err := conn.SendFile(control.Message{Kind: control.Socket, Name: name}, socket); err != nil {
			return err
		}
	}
	if err := conn.SendFile(control.Message{Kind: control.Socket, Name: lockName}, s.dir.Lock()); err != nil {
		return err
	}
	return conn.Send(control.Message{
		Kind: control.Offered, Keys: s.traffic.in.TicketKey(), Registered: s.registrar.Status().Registered,
	})
}
