package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// pace makes requests due at a fixed rate, and gives each to a connection that is free: when none is, as soon as one is.
type pace struct {
	fd      int
	run     *runner
	free    []*web
	due     []int64 // requests that wait for a connection
	last    int64   // when the last one was due
	spacing int64
}

func (r *runner) startRate() error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("timer: %w", err)
	}
	p := &pace{fd: fd, run: r, spacing: int64(time.Second) / int64(r.spec.Rate)}
	r.clients = append(r.clients, p)
	for range r.spec.Conns {
		w, err := openWeb(r, false)
		if err != nil {
			return err
		}
		w.idle = func() { p.freed(w) }
		r.clients = append(r.clients, w)
		p.free = append(p.free, w)
	}
	p.last = r.meter.now()
	every := unix.NsecToTimespec(p.spacing)
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil); err != nil {
		return fmt.Errorf("set timer: %w", err)
	}
	return r.loop.Add(fd, p)
}

func (p *pace) close() { unix.Close(p.fd) }

// Ready makes those requests due whose time has come.
func (p *pace) Ready(uint32) error {
	var ticks [8]byte
	if _, err := unix.Read(p.fd, ticks[:]); err != nil {
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		return fmt.Errorf("read timer: %w", err)
	}
	for range binary.NativeEndian.Uint64(ticks[:]) {
		p.last += p.spacing
		p.due = append(p.due, p.last)
	}
	for len(p.due) > 0 && len(p.free) > 0 {
		// The one that has been free for longest: all are used.
		w := p.free[0]
		p.free = append(p.free[:0], p.free[1:]...)
		if err := p.send(w); err != nil {
			return err
		}
	}
	return nil
}

func (p *pace) send(w *web) error {
	due := p.due[0]
	p.due = append(p.due[:0], p.due[1:]...)
	return w.send(due)
}

// freed counts an answer, and gives the connection what waits.
func (p *pace) freed(w *web) {
	p.run.meter.count(w.begun)
	p.free = append(p.free, w)
}
