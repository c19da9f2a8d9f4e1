package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/weft-mesh/weft/integration/bench/peers"
	"github.com/weft-mesh/weft/integration/harness"
)

// Options of one run.
type Options struct {
	// Bin is the folder of the built binaries; Debian and Envoy are where the peers are, empty: nowhere.
	Bin, Debian, Envoy string
	// Results is the folder that is written to; empty: the numbers are only printed.
	Results string
	// Doc is a document to put the tables into; empty: none.
	Doc string
	// Only and Peers are comma-separated names of scenarios and contenders; empty: all.
	Only, Peers string
	// Rounds of each scenario, each so long after a time to warm up.
	Rounds    int
	For, Warm time.Duration
	// Brief makes everything small, to see that it works; the numbers mean nothing.
	Brief bool
	// Profiles is the folder for CPU profiles of Weft's sidecars, taken in one more round; empty: none.
	Profiles string
}

// Run measures everything that the options ask for, and prints and writes what came of it. It ends with ctx, and in any case
// ends what it has started.
func Run(ctx context.Context, o Options) (err error) {
	chosen, memory, syscalls, err := choose(o.Only)
	if err != nil {
		return err
	}
	if o.Rounds < 1 || o.For <= 0 {
		return errors.New("at least one round of some time is needed")
	}
	dir, err := os.MkdirTemp("", "weft-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	r := &run{opts: o, size: whole(), dir: dir, report: newReport(o), ports: harness.NewPorts()}
	if o.Brief {
		r.size = brief()
	}
	if r.opts.Bin, err = filepath.Abs(o.Bin); err != nil {
		return err
	}
	if r.names, r.report.Absent, err = contenders(o); err != nil {
		return err
	}
	r.report.Facts.Versions = versions(o, r.names)
	if r.files, err = peers.NewFiles(dir); err != nil {
		return err
	}
	if err := r.cores(); err != nil {
		return err
	}
	for _, w := range worlds(chosen) {
		if err := r.world(ctx, w, chosen); err != nil {
			return err
		}
	}
	if memory {
		err = r.memory(ctx)
	}
	if err == nil && syscalls {
		err = r.syscalls(ctx)
	}
	if err != nil {
		return err
	}
	return r.report.finish(o.Results, o.Doc)
}

// run is one run.
type run struct {
	opts   Options
	size   size
	dir    string
	names  []string // of the contenders
	ports  *harness.Ports
	files  peers.Files
	report *report

	proxies, others, all string // lists of cores
	started              int
}

// size is how much of what has no option there is.
type size struct {
	idleConns, services, subscribed int
	// settled is how long a proxy is left alone before its memory is looked at, attach how long a tracer gets to take hold.
	settled, attach time.Duration
	// traced are the scenarios whose system calls are counted.
	traced string
}

func whole() size {
	return size{idleConns: 1000, services: 1000, subscribed: 100, settled: 3 * time.Second, attach: time.Second, traced: "h1-1k-16,h1-64k-16,grpc-4x8,new-conn,rate-1000"}
}

func brief() size {
	return size{idleConns: 10, services: 4, subscribed: 2, settled: 50 * time.Millisecond, attach: 200 * time.Millisecond, traced: "h1-1k-16,rate-1000"}
}

// world starts everything in one way, and measures those scenarios that want it so.
func (r *run) world(ctx context.Context, w world, chosen []scenario) error {
	fmt.Printf("\n%s\n", w)
	s, err := r.stage(ctx, w, r.names)
	if err != nil {
		return err
	}
	defer s.stop()
	for _, c := range chosen {
		if c.World != w {
			continue
		}
		if err := r.measure(ctx, s, c); err != nil {
			return err
		}
	}
	return nil
}

// measure gives a scenario to all contenders in turn, every other round in the opposite order.
func (r *run) measure(ctx context.Context, s *stage, c scenario) error {
	fmt.Printf("  %s\n", c.Title)
	for round := range r.opts.Rounds {
		for i := range s.contenders {
			if round%2 == 1 {
				i = len(s.contenders) - 1 - i
			}
			sample, err := s.sample(s.contenders[i], c)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("%s, %s: %w\n%s", c.Name, s.contenders[i].Name, err, s.contenders[i].Logs())
			}
			sample.Round = round + 1
			r.report.add(sample)
		}
	}
	return s.profile(ctx, c)
}
