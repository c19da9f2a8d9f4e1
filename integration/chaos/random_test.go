package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// fault is something that happens to the mesh and ends again.
type fault struct {
	name string
	do   func()
	undo func()
}

// draw chooses the next fault.
func (w *world) draw(r *rand.Rand) fault {
	m := w.Members()[r.IntN(3)]
	n := w.Members()[r.IntN(3)]
	instance := w.Instances()[r.IntN(len(w.Instances()))]
	another := w.Instances()[r.IntN(len(w.Instances()))]
	restart := func() { must(w.t, m.Restart()) }
	up := func() { must(w.t, w.UpAll(w.t.Context())) }
	return []fault{
		{"kill " + m.Name, m.Kill, restart},
		{"pause " + m.Name, m.Pause, m.Resume},
		{"cut " + m.Name + " from the control plane", func() { m.Cut(false) }, m.Heal},
		{"cut " + m.Name + " from its peers", func() { m.Cut(true) }, m.Heal},
		{"pause " + m.Name + " and " + n.Name, func() { m.Pause(); n.Pause() }, func() { m.Resume(); n.Resume() }},
		{"kill " + instance, func() { w.kill(instance) }, up},
		{"kill " + instance + ", pause " + m.Name, func() { m.Pause(); w.kill(instance) }, func() { m.Resume(); up() }},
		{"pause " + instance, func() { must(w.t, w.Pause(instance)) }, func() { must(w.t, w.Resume(instance)) }},
		{"kill " + instance + " and " + another, func() { w.kill(instance); w.kill(another) }, up},
		{"pause " + instance + " and cut " + m.Name, func() { must(w.t, w.Pause(instance)); m.Cut(false) }, func() { m.Heal(); must(w.t, w.Resume(instance)) }},
	}[r.IntN(10)]
}

// TestC9_RandomFaults: whatever happens to the store and to the control plane, no request fails that may pass, none passes that
// is denied, no sidecar goes back, nothing acknowledged is lost, and all of it converges once the faults are over.
func TestC9_RandomFaults(t *testing.T) {
	w := newWorld(t, 2)
	r := newDice(t)
	h := &truth{}
	must(t, w.change(t.Context(), h, 0)) // v1, allowed
	writes := w.newLedger("write")
	requests := flow(t, w.good, h.held, h.route)
	edge := flow(t, w.other, h.held, h.access)
	stop := w.changes(h)
	end := time.Now().Add(duration(t))
	for n := 1; time.Now().Before(end) && !t.Failed(); n++ {
		f := w.draw(r)
		length, rest := time.Duration(200+r.IntN(2500))*time.Millisecond, time.Duration(r.IntN(1500))*time.Millisecond
		if r.IntN(8) == 0 {
			length *= 5 // longer than the lease of a process and the patience of its peers
		}
		t.Logf("%3d %6.2fs %s for %v, after change %+d", n, time.Until(end).Seconds(), f.name, length, h.held().confirmed)
		f.do()
		w.wait(length)
		f.undo()
		w.wait(rest)
	}
	stop()
	w.whole(sidecars)
	before := h.held()
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	must(t, w.change(ctx, h, h.ask()))
	w.more(requests, 20)
	w.more(edge, 20)
	writes.audit()
	requests.stop()
	edge.stop()
	t.Logf("%d changes confirmed, %d requests, %d requests of the other account", before.confirmed, requests.count(), edge.count())
	if before.confirmed < 3 {
		t.Errorf("only %d changes were confirmed: the faults left no time for any", before.confirmed)
	}
}

// change makes change n and waits until everybody has acknowledged it.
func (w *world) change(ctx context.Context, h *truth, n int) error {
	accounts := []string{"good", "other"}
	if n%2 == 1 {
		accounts = accounts[:1]
	}
	access, err := w.allow(ctx, accounts...)
	if err != nil {
		return err
	}
	route, err := w.send(ctx, version(n))
	if err != nil {
		return err
	}
	if err := w.applied(ctx, access); err != nil {
		return fmt.Errorf("change %d of access: %w", n, err)
	}
	if err := w.applied(ctx, route); err != nil {
		return fmt.Errorf("change %d of the route: %w", n, err)
	}
	h.confirm(n)
	return nil
}

// changes makes one change after the other until stopped.
func (w *world) changes(h *truth) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			if err := w.change(ctx, h, h.ask()); err != nil && ctx.Err() == nil {
				w.t.Errorf("change: %v", err)
				return
			}
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	w.t.Cleanup(stop)
	return stop
}
