package compare

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/integration/bench/app"
	"github.com/weft-mesh/weft/integration/bench/load"
	"github.com/weft-mesh/weft/integration/bench/machine"
	"github.com/weft-mesh/weft/integration/bench/peers"
	"github.com/weft-mesh/weft/internal/backoff"
)

// look is how often memory is read under load.
const look = 100 * time.Millisecond

// value is a number that has a bound, of one contender.
type value struct {
	Name      string  `json:"name"`
	Contender string  `json:"contender"`
	Value     float64 `json:"value"`
	// RSS is the whole resident memory, where it is about memory.
	RSS float64 `json:"rss,omitempty"`
}

// resident is the memory of some processes in KiB.
type resident struct{ anon, rss float64 }

func residentOf(pids []int) (resident, error) {
	var sum resident
	for _, pid := range pids {
		for line := range strings.Lines(machine.File(fmt.Sprintf("/proc/%d/status", pid))) {
			name, text, _ := strings.Cut(line, ":")
			into := map[string]*float64{"RssAnon": &sum.anon, "VmRSS": &sum.rss}[name]
			if into == nil {
				continue
			}
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 64)
			if err != nil {
				return sum, fmt.Errorf("%s of process %d: %w", name, pid, err)
			}
			*into += kib
		}
	}
	if sum.rss == 0 {
		return sum, fmt.Errorf("memory of processes %v cannot be read", pids)
	}
	return sum, nil
}

// memory looks at the outbound half of each contender: idle and then with idle connections, and started anew under load.
func (r *run) memory(ctx context.Context) error {
	fmt.Println("\nmemory")
	for _, part := range []func(context.Context, *stage, *peers.Contender) error{r.resting, r.loaded} {
		s, err := r.stage(ctx, world{}, r.names)
		if err != nil {
			return err
		}
		for _, c := range s.contenders {
			if err = part(ctx, s, c); err != nil {
				err = fmt.Errorf("memory of %s: %w", c.Name, err)
				break
			}
		}
		s.stop()
		if err != nil {
			return err
		}
	}
	return nil
}

// resting looks at an idle proxy: without, and then with idle connections, each of which has made a request.
func (r *run) resting(ctx context.Context, s *stage, c *peers.Contender) error {
	idle, err := r.at(ctx, c.Front())
	if err != nil {
		return err
	}
	r.report.value(value{idleMemory, c.Name, idle.anon / 1024, idle.rss / 1024})
	if _, err := s.client.run(load.Spec{Kind: load.Idle, Address: c.Entry[peers.HTTP], Path: app.Small, Conns: r.size.idleConns}); err != nil {
		return err
	}
	held, err := r.at(ctx, c.Front())
	if err != nil {
		return err
	}
	n := float64(r.size.idleConns)
	r.report.value(value{connMemory, c.Name, (held.anon - idle.anon) / n, (held.rss - idle.rss) / n})
	if c.Name != peers.Weft {
		return nil
	}
	place := s.place
	place.Dir = filepath.Join(s.place.Dir, peers.Weft)
	pid, err := place.Crowd(ctx, c, r.size.services, r.size.subscribed)
	if err != nil {
		return fmt.Errorf("%d services: %w", r.size.services, err)
	}
	crowd, err := r.at(ctx, []int{pid})
	if err == nil {
		r.report.value(value{crowdMemory, c.Name, crowd.anon / 1024, crowd.rss / 1024})
	}
	return err
}

// at is the memory of processes that have been left alone for a while.
func (r *run) at(ctx context.Context, pids []int) (resident, error) {
	if err := backoff.Sleep(ctx, r.size.settled); err != nil {
		return resident{}, err
	}
	return residentOf(pids)
}

// loaded reads the most that a contender takes while a load runs.
func (r *run) loaded(_ context.Context, s *stage, c *peers.Contender) error {
	spec := load.Spec{Kind: load.HTTP, Address: c.Entry[peers.HTTP], Path: app.Small, Conns: 64, Warm: s.opts.Warm, For: s.opts.For}
	done := make(chan error, 1)
	go func() {
		_, err := s.client.run(spec)
		done <- err
	}()
	most, err := residentOf(c.Front())
	if err != nil {
		return errors.Join(err, <-done)
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			r.report.value(value{loadMemory, c.Name, most.anon / 1024, most.rss / 1024})
			return err
		case <-tick.C:
			if now, err := residentOf(c.Front()); err == nil && now.anon > most.anon {
				most = now
			}
		}
	}
}
