package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/integration/bench/sim"
)

// change is one kind of change.
type change struct {
	name string
	// affected are the sidecars that must acknowledge it.
	affected int
	// commit makes it for the nth time; it returns when the write was acknowledged, and the revision.
	commit func(ctx context.Context, n int) (at int64, policy, discovery uint64, err error)
}

// changes are those of the goals: to an endpoint, a route and access, that concern a few and that concern everybody.
func (b *bench) changes() []change {
	few := b.top.services[1] // which has an access policy
	return []change{
		{"endpoint, one service", b.hearers(few), b.endpoint(few)},
		{"route, one service", b.top.callers[few], b.route(few)},
		{"access, one account", len(b.top.members[few]), b.access(few)},
		{"endpoint, everybody calls it", b.hearers(b.top.common()), b.endpoint(b.top.common())},
		{"route, everybody calls it", b.top.callers[b.top.common()], b.route(b.top.common())},
		{"access, the mesh's default", b.unpoliced(), b.defaultAccess()},
	}
}

// hearers of a change of a service's endpoint: those who call it, and the workload itself.
func (b *bench) hearers(service string) int {
	member, n := b.top.members[service][0], b.top.callers[service]
	for _, s := range b.top.sidecars {
		if s.Name == member && !slices.Contains(s.Wants, sim.Namespace+"/"+service) {
			n++
		}
	}
	return n
}

// unpoliced are the sidecars for which the mesh's default counts.
func (b *bench) unpoliced() int {
	n := len(b.top.sidecars)
	for i, service := range b.top.services {
		if i%policed == 1 {
			n -= len(b.top.members[service])
		}
	}
	return n
}

func (b *bench) endpoint(service string) func(context.Context, int) (int64, uint64, uint64, error) {
	member := b.top.members[service][0]
	return func(ctx context.Context, n int) (int64, uint64, uint64, error) {
		r, err := b.fleet.home[member].ask(ctx, sim.Request{Op: sim.Relabel, Names: []string{member}, Build: fmt.Sprint("p", time.Now().UnixNano())})
		return r.At, 0, r.Revision, err
	}
}

func (b *bench) route(service string) func(context.Context, int) (int64, uint64, uint64, error) {
	return func(ctx context.Context, _ int) (int64, uint64, uint64, error) {
		revision, err := b.edit(ctx, service)
		return time.Now().UnixNano(), revision.GetSeq(), 0, err
	}
}

// edit changes the route of a service into something that it was not before.
func (b *bench) edit(ctx context.Context, service string) (*typepb.SourceRevision, error) {
	b.edits++
	return b.admin.route(ctx, service, time.Duration(5000+b.edits)*time.Millisecond)
}

func (b *bench) access(account string) func(context.Context, int) (int64, uint64, uint64, error) {
	return func(ctx context.Context, n int) (int64, uint64, uint64, error) {
		revision, err := b.admin.access(ctx, account, 6+n, false)
		return time.Now().UnixNano(), revision, 0, err
	}
}

func (b *bench) defaultAccess() func(context.Context, int) (int64, uint64, uint64, error) {
	return func(ctx context.Context, n int) (int64, uint64, uint64, error) {
		to := typepb.AccessDefault_ACCESS_DEFAULT_DENY
		if n%2 == 1 {
			to = typepb.AccessDefault_ACCESS_DEFAULT_ALLOW
		}
		revision, err := b.admin.defaultAccess(ctx, to)
		return time.Now().UnixNano(), revision, 0, err
	}
}

// propagate makes every kind of change several times, each after the one before has reached everybody.
func (b *bench) propagate(ctx context.Context) error {
	profiled := make(chan error, 1)
	go func() { profiled <- b.profile("cpu", "profile?seconds=10") }()
	for _, c := range b.changes() {
		if err := b.measure(ctx, "from commit to acknowledgement", c, b.opts.rounds, c.affected); err != nil {
			return err
		}
	}
	return <-profiled
}

// measure makes a change several times and reports when who had acknowledged it; expected is how many have to.
func (b *bench) measure(ctx context.Context, section string, c change, rounds, expected int) error {
	var times, lasts []int64
	before := b.use()
	counted, err := b.counters()
	if err != nil {
		return err
	}
	for n := range rounds {
		var got []int64
		for try := 0; len(got) != expected && err == nil; try++ {
			if got, err = b.once(ctx, c, n+try, expected); try == tries && err == nil {
				err = fmt.Errorf("%d sidecars were sent something, expected %d", len(got), expected)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		times, lasts = append(times, got...), append(lasts, got[len(got)-1])
	}
	after := b.use()
	now, err := b.counters()
	if err != nil {
		return err
	}
	slices.Sort(times)
	slices.Sort(lasts)
	each := float64(len(times))
	bytes := (now[mBytes] - counted[mBytes]) / max(1, now[mUpdates]-counted[mUpdates])
	b.report.add(section, c.name, map[string]float64{
		"sidecars": float64(expected), "rounds": float64(rounds), "p50_ms": percentile(times, .5), "p99_ms": percentile(times, .99),
		"max_ms": percentile(times, 1), "last_ack_median_ms": percentile(lasts, .5),
		"cpu_us_per_ack": float64(after.since(before, b.running...).Microseconds()) / each, "bytes_per_update": bytes,
	}, "%5d sidecars  p50 %4.0f  p99 %4.0f  max %4.0f ms  (last: median %4.0f ms)  CPU/sidecar: distributor %s, simulator %s; %.0f bytes",
		expected, percentile(times, .5), percentile(times, .99), percentile(times, 1), percentile(lasts, .5),
		micro(after.since(before, b.running...), each), micro(after.since(before, "sidecars"), each), bytes)
	return nil
}

// tries is how often a change is made anew when something else came in between: on a busy machine leases may run out.
const tries = 5

// once makes a change and waits until everybody who must has acknowledged it; there may be more who were sent something.
func (b *bench) once(ctx context.Context, c change, n, expected int) ([]int64, error) {
	if _, err := b.fleet.all(ctx, sim.Request{Op: sim.Mark}); err != nil {
		return nil, err
	}
	at, policy, discovery, err := c.commit(ctx, n)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = 200 * time.Millisecond {
		if err := rest(ctx, pause); err != nil {
			return nil, fmt.Errorf("not acknowledged by all %d: %w", expected, err)
		}
		r, err := b.fleet.all(ctx, sim.Request{Op: sim.Reached, Policy: policy, Discover: discovery, Since: at, Names: b.skip})
		if err != nil {
			return nil, err
		}
		if len(r.Times) >= expected {
			return r.Times, rest(ctx, 300*time.Millisecond)
		}
	}
}
