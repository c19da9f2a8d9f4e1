package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/integration/bench/sim"
)

// await measures what a person who applies with --wait waits for, and compares what the control plane says with what was done.
func (b *bench) await(ctx context.Context) error {
	var times []int64
	var last *configpb.Convergence
	for range b.opts.rounds {
		revision, err := b.edit(ctx, b.top.common())
		if err != nil {
			return err
		}
		at, target := time.Now().UnixNano(), &typepb.RevisionVector{Revisions: []*typepb.SourceRevision{revision}}
		if err := b.admin.await(ctx, target); err != nil {
			return err
		}
		times = append(times, time.Now().UnixNano()-at)
		if last, err = b.admin.compare(ctx, target); err != nil {
			return err
		}
	}
	slices.Sort(times)
	b.report.add("from commit to acknowledgement", "--wait, everybody is affected", map[string]float64{
		"median_ms": percentile(times, .5), "max_ms": percentile(times, 1), "affected": float64(last.GetAffected()),
	}, "%5d sidecars  median %.0f  max %.0f ms", last.GetAffected(), percentile(times, .5), percentile(times, 1))
	if int(last.GetAffected()) != len(b.top.sidecars) || !last.GetConverged() {
		return fmt.Errorf("the control plane says %d affected, converged %v", last.GetAffected(), last.GetConverged())
	}
	return nil
}

// misbehave lets a tenth of the sidecars be slow, mute or deaf, and looks at the others.
func (b *bench) misbehave(ctx context.Context) error {
	n := len(b.top.sidecars)
	bad := map[sim.Behaviour][]string{}
	kinds := []sim.Behaviour{sim.Slow, sim.Mute, sim.Deaf}
	for i := range n / 10 {
		kind := kinds[i%len(kinds)]
		bad[kind] = append(bad[kind], b.top.sidecars[i*10+3].Name)
	}
	for kind, names := range bad {
		if _, err := b.fleet.all(ctx, sim.Request{Op: sim.Behave, Names: names, Behaviour: kind}); err != nil {
			return err
		}
	}
	before, err := b.memory(replica(1))
	if err != nil {
		return err
	}
	c := change{"route, everybody calls it", n, b.route(b.top.common())}
	rounds := b.opts.rounds
	section := fmt.Sprintf("%d slow, %d mute and %d deaf of %d: the others", len(bad[sim.Slow]), len(bad[sim.Mute]), len(bad[sim.Deaf]), n)
	if err := b.measureOthers(ctx, section, c, rounds, bad); err != nil {
		return err
	}
	after, err := b.memory(replica(1))
	if err != nil {
		return err
	}
	b.report.add(section, "memory", map[string]float64{"kib_before": before, "kib_after": after}, "%.1f MB before, %.1f MB after %d changes", before/1024, after/1024, rounds)
	for _, names := range bad {
		if _, err := b.fleet.all(ctx, sim.Request{Op: sim.Behave, Names: names, Behaviour: sim.Well}); err != nil {
			return err
		}
	}
	// The mute have swallowed an update each and can only begin anew.
	r, err := b.fleet.all(ctx, sim.Request{Op: sim.Move, Rate: arrivals / len(b.fleet.workers), Distributors: b.addresses()})
	b.report.add(section, "all well again, on new streams", map[string]float64{"seconds": r.Seconds}, "%.1f s", r.Seconds)
	return err
}

// measureOthers is measure for those who behave; slow ones may or may not have acknowledged.
func (b *bench) measureOthers(ctx context.Context, section string, c change, rounds int, bad map[sim.Behaviour][]string) error {
	var skip []string
	for _, names := range bad {
		skip = append(skip, names...)
	}
	b.skip = skip
	defer func() { b.skip = nil }()
	return b.measure(ctx, section, c, rounds, c.affected-len(skip))
}

// churn changes endpoints all the time and counts what goes over the wire.
func (b *bench) churn(ctx context.Context) error {
	const perMinute = 5000
	if _, err := b.fleet.all(ctx, sim.Request{Op: sim.Mark}); err != nil {
		return err
	}
	counted, err := b.counters()
	if err != nil {
		return err
	}
	before := b.use()
	profiled := make(chan error, 1)
	go func() { profiled <- b.profile("churn", fmt.Sprint("profile?seconds=", b.opts.seconds)) }()
	r, err := b.fleet.all(ctx, sim.Request{Op: sim.Churn, Rate: perMinute / len(b.fleet.workers), For: b.span(), Build: "churn"})
	if err != nil {
		return err
	}
	if err := errors.Join(rest(ctx, time.Second), <-profiled); err != nil {
		return err
	}
	after := b.use()
	now, err := b.counters()
	if err != nil {
		return err
	}
	d := func(name string) float64 { return now[name] - counted[name] }
	seconds := b.span().Seconds()
	b.report.add("endpoints that come and go", "changes", map[string]float64{
		"made": float64(r.Made), "per_minute": float64(r.Made) * 60 / seconds, "updates": d(mUpdates), "resources": d(mResources),
		"bytes": d(mBytes), "full_updates": d(mFull), "compiles": d(mCompiles),
	}, "%.0f a minute for %.0f s: %.0f updates, %.2f resources and %.0f bytes each, %.0f full; %.0f compilations, %.1f ms each; %.0f %% of a core",
		float64(r.Made)*60/seconds, seconds, d(mUpdates), d(mResources)/max(1, d(mUpdates)), d(mBytes)/max(1, d(mUpdates)), d(mFull),
		d(mCompiles), 1000*d(mCompile)/max(1, d(mCompiles)), percent(after.since(before, replica(1)), after.at.Sub(before.at).Seconds()))
	if d(mFull) > 0 {
		return fmt.Errorf("%.0f updates carried everything that a sidecar holds, because of endpoints", d(mFull))
	}
	return nil
}

// share adds replicas and spreads the sidecars over them.
func (b *bench) share(ctx context.Context) error {
	c := change{"route, everybody calls it", len(b.top.sidecars), b.route(b.top.common())}
	for n := 1; n <= replicas; n++ {
		section := fmt.Sprintf("load on %d replicas", n)
		if n > 1 {
			if err := b.mesh.Up(ctx, replica(n)); err != nil {
				return err
			}
			b.running = append(b.running, replica(n))
			r, err := b.fleet.all(ctx, sim.Request{Op: sim.Move, Rate: arrivals / len(b.fleet.workers), Distributors: b.addresses()})
			if err != nil {
				return err
			}
			b.report.add(section, "moved", map[string]float64{"seconds": r.Seconds}, "all in sync after %.1f s", r.Seconds)
		}
		before := b.use()
		if err := b.measure(ctx, section, c, b.opts.rounds, c.affected); err != nil {
			return err
		}
		after := b.use()
		count, err := b.fleet.all(ctx, sim.Request{Op: sim.Count})
		if err != nil {
			return err
		}
		for i, name := range b.running {
			streams := count.Replicas[b.addresses()[i]]
			memory, err := b.memory(name)
			if err != nil {
				return err
			}
			spent := after.since(before, name)
			b.report.add(section, name, map[string]float64{"streams": float64(streams), "cpu_ms": float64(spent.Milliseconds()), "kib": memory},
				"%5d streams, %.0f ms CPU for the %d changes, %.1f MB", streams, float64(spent.Milliseconds()), b.opts.rounds, memory/1024)
		}
	}
	return nil
}

// storm kills a replica and waits until its sidecars are in sync elsewhere.
func (b *bench) storm(ctx context.Context) error {
	if _, err := b.fleet.all(ctx, sim.Request{Op: sim.Mark}); err != nil {
		return err
	}
	victim := replica(replicas)
	b.running = b.running[:replicas-1]
	counted, err := b.counters()
	if err != nil {
		return err
	}
	before := b.use()
	at := time.Now().UnixNano()
	if err := b.mesh.End(victim, syscall.SIGKILL); err != nil {
		return err
	}
	if err := rest(ctx, 100*time.Millisecond); err != nil { // for the losses to be noticed
		return err
	}
	if _, err := b.fleet.all(ctx, sim.Request{Op: sim.Synced}); err != nil {
		return err
	}
	r, err := b.fleet.all(ctx, sim.Request{Op: sim.Recovered, Since: at})
	if err != nil {
		return err
	}
	after := b.use()
	now, err := b.counters()
	if err != nil {
		return err
	}
	d := func(name string) float64 { return now[name] - counted[name] }
	n := float64(len(r.Times))
	all := percentile(r.Times, 1) / 1000
	b.report.add("a replica of three dies", "its sidecars are in sync again", map[string]float64{
		"sidecars": n, "p50_ms": percentile(r.Times, .5), "p99_ms": percentile(r.Times, .99), "max_ms": percentile(r.Times, 1),
		"updates": d(mUpdates), "resources": d(mResources), "bytes": d(mBytes), "full_updates": d(mFull),
	}, "%.0f sidecars  p50 %.1f  p99 %.1f  all %.1f s (%.0f a second); CPU each: distributors %s, simulator %s", n,
		percentile(r.Times, .5)/1000, percentile(r.Times, .99)/1000, all, n/max(all, .001), micro(after.since(before, b.running...), n), micro(after.since(before, "sidecars"), n))
	b.report.add("a replica of three dies", "sent to them", nil, "%.0f updates, %.0f resources, %.0f bytes, %.0f full", d(mUpdates), d(mResources), d(mBytes), d(mFull))
	return nil
}
