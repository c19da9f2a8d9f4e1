package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"
)

// summary prints what the load saw from beginning to end, and fails when a promise was broken.
func (d *demo) summary() error {
	d.out.heading("Summary")
	all := d.tally.now()
	d.out.say(fmt.Sprintf("%s, %d requests sent, %d answered, %d failed", round(time.Since(d.began)), all.Sent, all.OK, all.failed()))
	for _, reason := range slices.Sorted(keys(all.Failures)) {
		d.out.say(fmt.Sprintf("  %s: %d", reason, all.Failures[reason]))
	}
	d.out.say("propagation, from compiled to acknowledged by all affected: " + durations(d.propagation))
	d.edges()
	if len(d.out.broken) > 0 {
		return errors.New("not as promised:\n  " + strings.Join(d.out.broken, "\n  "))
	}
	d.out.promise(true, "every promise was kept")
	return nil
}

// edges prints success and latency by edge since the beginning.
func (d *demo) edges() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, errOut, err := d.run(ctx, "top", "--cumulative")
	if err != nil {
		d.out.promise(false, "top: %s", strings.TrimSpace(errOut))
		return
	}
	d.out.shown(out)
}

func durations(all []time.Duration) string {
	if len(all) == 0 {
		return "none measured"
	}
	sorted := slices.Sorted(slices.Values(all))
	return fmt.Sprintf("median %s, max %s of %d changes", sorted[len(sorted)/2], sorted[len(sorted)-1], len(sorted))
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
