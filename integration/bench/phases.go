package main

import (
	"context"
	"errors"
	"time"

	"github.com/weft-mesh/weft/integration/bench/sim"
)

// arrivals is how many sidecars come in a second at first. How fast they can come is seen when a replica dies.
const arrivals = 500

// register registers every workload and looks what keeping them registered costs.
func (b *bench) register(ctx context.Context) error {
	n := float64(len(b.top.sidecars))
	before := b.use()
	r, err := b.fleet.all(ctx, sim.Request{Op: sim.Register, Rate: arrivals / len(b.fleet.workers)})
	if err != nil {
		return err
	}
	after := b.use()
	b.report.add("registration", "all registered", map[string]float64{"seconds": r.Seconds},
		"%.0f in %.1f s (%.0f/s); CPU each: discovery %s, etcd %s", n, r.Seconds, n/r.Seconds,
		micro(after.since(before, "discovery-1"), n), micro(after.since(before, "etcd"), n))
	if err := rest(ctx, min(3*time.Second, b.span())); err != nil {
		return err
	}
	if _, err := b.fleet.all(ctx, sim.Request{Op: sim.Mark}); err != nil {
		return err
	}
	before = b.use()
	if err := rest(ctx, b.span()); err != nil {
		return err
	}
	after = b.use()
	count, err := b.fleet.all(ctx, sim.Request{Op: sim.Count})
	if err != nil {
		return err
	}
	seconds := after.at.Sub(before.at).Seconds()
	beats := float64(count.Counts["heartbeats"])
	memory, err := b.memory("discovery-1")
	spent := after.since(before, "discovery-1")
	b.report.add("registration", "kept alive", map[string]float64{
		"heartbeats_per_second": beats / seconds, "discovery_cpu_percent": percent(spent, seconds), "lost": float64(count.Counts["registrations_ended"]),
	}, "%.0f heartbeats/s, %d lost; discovery %.1f %% of a core (%s a heartbeat), %.0f MB", beats/seconds,
		count.Counts["registrations_ended"], percent(spent, seconds), micro(spent, beats), memory/1024)
	return err
}

// connect opens every config stream at one replica, and looks what a stream costs in memory.
func (b *bench) connect(ctx context.Context) error {
	n := float64(len(b.top.sidecars))
	empty, err := b.memory(replica(1))
	if err != nil {
		return err
	}
	before := b.use()
	r, err := b.fleet.all(ctx, sim.Request{Op: sim.Connect, Rate: arrivals / len(b.fleet.workers), Distributors: b.addresses()})
	if err != nil {
		return err
	}
	after := b.use()
	counters, err := b.counters()
	if err != nil {
		return err
	}
	b.report.add("streams at one replica", "all in sync", map[string]float64{"seconds": r.Seconds, "bytes": counters[mBytes]},
		"%.0f in %.1f s (%.0f/s), CPU each %s (sidecars %s), %.0f bytes each", n, r.Seconds, n/r.Seconds,
		micro(after.since(before, replica(1)), n), micro(after.since(before, "sidecars"), n), counters[mBytes]/n)
	if err := rest(ctx, min(5*time.Second, b.span())); err != nil {
		return err
	}
	b.empty = empty
	err = b.reportMemory("memory right after", n)
	return errors.Join(err, b.profile("heap", "heap?gc=1"), b.profile("goroutines", "goroutine?debug=1"), b.profile("allocated", "allocs"))
}

// idle looks at streams on which nothing happens.
func (b *bench) idle(ctx context.Context) error {
	n := float64(len(b.top.sidecars))
	before := b.use()
	if err := rest(ctx, b.span()); err != nil {
		return err
	}
	after := b.use()
	seconds := after.at.Sub(before.at).Seconds()
	spent := after.since(before, replica(1))
	b.report.add("streams at one replica", "idle", map[string]float64{"cpu_percent": percent(spent, seconds)},
		"%.1f %% of a core, %s a stream and second", percent(spent, seconds), micro(spent, n*seconds))
	return b.reportMemory("memory, idle", n)
}

// reportMemory says what the first replica needs for n streams: RssAnon, less what it needed without any, and what of it the
// heap and the stacks of its goroutines are.
func (b *bench) reportMemory(name string, n float64) error {
	kib, err := b.memory(replica(1))
	if err != nil {
		return err
	}
	m, err := b.counters()
	b.report.add("streams at one replica", name, map[string]float64{
		"kib_before": b.empty, "kib": kib, "kib_per_stream": (kib - b.empty) / n,
		"heap_live_bytes": m["go_memstats_heap_alloc_bytes"], "stack_bytes": m["go_memstats_stack_inuse_bytes"],
	}, "%.1f MB, was %.1f MB: %.1f KB a stream (heap %.1f MB, its limit %.1f MB, stacks %.1f MB)", kib/1024, b.empty/1024, (kib-b.empty)/n,
		m["go_memstats_heap_alloc_bytes"]/(1<<20), m["go_memstats_next_gc_bytes"]/(1<<20), m["go_memstats_stack_inuse_bytes"]/(1<<20))
	return err
}

// span is how long to look at what goes on.
func (b *bench) span() time.Duration { return time.Duration(b.opts.seconds) * time.Second }

func percent(spent time.Duration, seconds float64) float64 { return 100 * spent.Seconds() / seconds }

// micro is CPU time for each of n.
func micro(spent time.Duration, n float64) string {
	return time.Duration(float64(spent) / max(n, 1)).Round(100 * time.Nanosecond).String()
}
