package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/integration/bench/sim"
	"github.com/weft-mesh/weft/integration/harness"
	"github.com/weft-mesh/weft/internal/backoff"
)

// replicas of the distributor that are there at most.
const replicas = 3

// policed is one account in so many that has an access policy; the others have the default of the mesh.
const policed = 10

// bench is one run.
type bench struct {
	opts    options
	dir     string
	report  *report
	top     topology
	mesh    *harness.Mesh
	admin   *admin
	fleet   *fleet
	running []string // replicas of the distributor
	empty   float64  // memory of the first replica without streams, KiB
	edits   int      // of routes, so that each differs from the one before
	skip    []string // sidecars that are not waited for
}

// all measures everything, one thing after the other.
func (b *bench) all(ctx context.Context) error {
	for _, phase := range []func(context.Context) error{
		b.start, b.populate, b.register, b.connect, b.idle, b.propagate, b.await, b.misbehave, b.churn, b.share, b.storm,
	} {
		if err := phase(ctx); err != nil {
			return err
		}
	}
	return nil
}

// start starts the control plane with one replica of the distributor, and the processes of the sidecars.
func (b *bench) start(ctx context.Context) (err error) {
	b.top = newTopology(b.opts.sidecars)
	b.mesh, err = harness.Start(ctx, harness.Options{
		Bin: b.opts.bin, Dir: b.dir, Split: true, ReplicasOf: map[string]int{"distributor": replicas}, Ports: harness.NewPorts(),
	})
	if err != nil {
		return err
	}
	for i := replicas; i > 1; i-- {
		if err := b.mesh.End(replica(i), syscall.SIGTERM); err != nil {
			return err
		}
	}
	b.running = []string{replica(1)}
	if b.admin, err = newAdmin(b.mesh.Env()); err != nil {
		return err
	}
	b.fleet, err = startFleet(ctx, b.top, b.mesh.Addresses("discovery")[0])
	return err
}

func replica(n int) string { return fmt.Sprintf("distributor-%d", n) }

// stop ends all that was started.
func (b *bench) stop() {
	if b.fleet != nil {
		b.fleet.stop()
	}
	if b.admin != nil {
		b.admin.conn.Close()
	}
	if b.mesh != nil {
		b.mesh.Stop()
	}
}

// populate makes services, routes, policies and identities.
func (b *bench) populate(ctx context.Context) error {
	began := time.Now()
	if _, err := b.admin.defaultAccess(ctx, typepb.AccessDefault_ACCESS_DEFAULT_ALLOW); err != nil {
		return err
	}
	tokens := map[string]string{}
	var mu sync.Mutex
	err := inParallel(16, b.top.services, func(i int, name string) error {
		if err := b.admin.service(ctx, name); err != nil {
			return err
		}
		if i%policed == 1 {
			if _, err := b.admin.access(ctx, name, 5, true); err != nil {
				return err
			}
		}
		token, err := b.admin.token(ctx, name)
		mu.Lock()
		defer mu.Unlock()
		tokens[name] = token
		return err
	})
	if err != nil {
		return err
	}
	objects := time.Since(began)
	r, err := b.fleet.each(ctx, func(w *worker) sim.Request {
		mine := map[string]string{}
		for _, s := range w.mine {
			mine[s.Account] = tokens[s.Account]
		}
		return sim.Request{Op: sim.Identify, Tokens: mine}
	})
	n := float64(len(b.top.sidecars))
	b.report.add("set up", "services, routes, policies, tokens", map[string]float64{"seconds": objects.Seconds(), "services": float64(len(b.top.services))},
		"%d services in %.1f s", len(b.top.services), objects.Seconds())
	b.report.add("set up", "identities", map[string]float64{"seconds": r.Seconds}, "%.0f SVIDs in %.1f s (%.0f/s)", n, r.Seconds, n/r.Seconds)
	return err
}

// inParallel calls f for every item, some at a time, and joins the errors.
func inParallel(at int, items []string, f func(int, string) error) error {
	var mu sync.Mutex
	var errs []error
	var g sync.WaitGroup
	slots := make(chan struct{}, at)
	for i, item := range items {
		slots <- struct{}{}
		g.Go(func() {
			defer func() { <-slots }()
			if err := f(i, item); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	g.Wait()
	return errors.Join(errs...)
}

// addresses of the replicas of the distributor that run.
func (b *bench) addresses() []string { return b.mesh.Addresses("distributor")[:len(b.running)] }

// rest lets what went before come to rest.
func rest(ctx context.Context, d time.Duration) error { return backoff.Sleep(ctx, d) }
