package sim

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/backoff"
)

// mark forgets what was counted and acknowledged so far.
func (f *Fleet) mark() {
	for _, s := range f.sidecars {
		s.mu.Lock()
		s.acks = s.acks[:0]
		s.mu.Unlock()
	}
	for _, n := range []interface{ Store(int64) }{&f.updates, &f.resources, &f.shards, &f.streamsEnded, &f.leasesEnded, &f.heartbeats} {
		n.Store(0)
	}
}

// reached gives, for each sidecar that was sent something since the mark, the time from since to its first acknowledgement of
// something at a revision of policy or discovery or later. Some sidecars do not count.
func (f *Fleet) reached(policy, discovery uint64, since int64, but []string) []int64 {
	skip := make(map[string]bool, len(but))
	for _, name := range but {
		skip[name] = true
	}
	var out []int64
	for _, s := range f.sidecars {
		if skip[s.Name] {
			continue
		}
		s.mu.Lock()
		i := slices.IndexFunc(s.acks, func(a ack) bool {
			return a.policy >= policy && a.discovery >= discovery && a.resources+a.shards > 0
		})
		if i >= 0 {
			out = append(out, s.acks[i].at-since)
		}
		s.mu.Unlock()
	}
	slices.Sort(out)
	return out
}

// recoveries gives, for each sidecar that lost its stream after a moment, the time from then until its new stream had sent
// everything.
func (f *Fleet) recoveries(since int64) []int64 {
	var out []int64
	for _, s := range f.sidecars {
		s.mu.Lock()
		if s.lost >= since && s.synced != 0 {
			out = append(out, s.synced-since)
		}
		s.mu.Unlock()
	}
	slices.Sort(out)
	return out
}

// replicas counts sidecars by the replica that they talk to.
func (f *Fleet) replicas() map[string]int64 {
	out := map[string]int64{}
	for _, s := range f.sidecars {
		s.mu.Lock()
		out[s.replica]++
		s.mu.Unlock()
	}
	return out
}

// churn relabels sidecars in turn, so many a minute for some time, and returns how many changes were committed.
func (f *Fleet) churn(ctx context.Context, perMinute int, long time.Duration, build string) (made int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	tick := time.NewTicker(time.Minute / time.Duration(perMinute))
	defer tick.Stop()
	var mu sync.Mutex
	var g sync.WaitGroup
	defer g.Wait()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			g.Wait()
			return made, err
		}
		if i > 0 && i%len(f.sidecars) == 0 {
			g.Wait() // one change at a time for each sidecar
		}
		g.Go(func() {
			a := f.sidecars[i%len(f.sidecars)].relabel(fmt.Sprint(build, "-", i))
			mu.Lock()
			defer mu.Unlock()
			if a.err != nil {
				err = a.err
				return
			}
			made++
		})
	}
}

// until polls a condition.
func until(ctx context.Context, done func() bool) error {
	for !done() {
		if err := backoff.Sleep(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("waited in vain: %w", err)
		}
	}
	return nil
}

// each calls f for every item, several at a time, and returns the first error.
func each[T any](at int, items []T, f func(T) error) error {
	queue := make(chan T)
	errs := make(chan error, at)
	var g sync.WaitGroup
	for range at {
		g.Go(func() {
			var first error
			for item := range queue {
				if err := f(item); err != nil && first == nil {
					first = err
				}
			}
			errs <- first
		})
	}
	for _, item := range items {
		queue <- item
	}
	close(queue)
	g.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func keysOf[K cmp.Ordered, V any](m map[K]V) []K {
	out := make([]K, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
