package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/integration/bench/compare"
	"github.com/weft-mesh/weft/integration/bench/load"
	"github.com/weft-mesh/weft/integration/bench/peers"
	"github.com/weft-mesh/weft/integration/bench/sim"
)

// options of one run.
type options struct {
	sidecars int
	bin      string
	results  string
	keep     string
	profiles string
	seconds  int
	rounds   int

	compare compare.Options
}

// role is what a process that this command started itself does.
type role struct{ name, config string }

func main() {
	var o options
	var r role
	worker := flag.Bool("worker", false, "be a process of simulated sidecars (used by this command itself)")
	flag.StringVar(&r.name, "role", "", "be the app, the client or the reverse proxy of a comparison (used by this command itself)")
	flag.StringVar(&r.config, "role-config", "", "what the role needs to know")
	flag.IntVar(&o.sidecars, "sim", 0, "measure the control plane with so many sidecars, instead of the data path")
	flag.StringVar(&o.bin, "bin", "bin", "folder of the built binaries")
	flag.StringVar(&o.results, "results", "", "folder that the results are written to; empty: only printed")
	flag.StringVar(&o.keep, "dir", "", "with -sim: folder for everything that the control plane writes, kept afterwards; empty: one that is removed")
	flag.StringVar(&o.profiles, "profiles", "", "folder for CPU profiles, with -sim of the distributor, else of Weft's sidecars; empty: none")
	flag.IntVar(&o.seconds, "seconds", 20, "with -sim: how long to measure what is measured over a time")
	flag.IntVar(&o.rounds, "rounds", 5, "how often everything is measured, with -sim each change is made")
	flag.StringVar(&o.compare.Only, "only", "", "scenarios, comma-separated, memory and syscalls among them; empty: all")
	flag.StringVar(&o.compare.Peers, "peers", "", "whom to compare with, comma-separated; empty: all that are there")
	flag.DurationVar(&o.compare.For, "for", 4*time.Second, "how long each scenario is measured in each round")
	flag.DurationVar(&o.compare.Warm, "warm", time.Second, "how long each load runs before it is measured")
	flag.StringVar(&o.compare.Doc, "doc", "", "document to put the tables into, such as docs/performance.md; empty: none")
	flag.StringVar(&o.compare.Debian, "debian", "", "folder that integration/tools/debian.sh prints, with nginx and HAProxy")
	flag.StringVar(&o.compare.Envoy, "envoy", "", "folder that integration/tools/envoy.sh prints")
	flag.BoolVar(&o.compare.Brief, "brief", false, "make everything small, to see that it works; the numbers mean nothing")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := error(nil)
	switch {
	case *worker:
		err = sim.Serve(ctx, os.Stdin, os.Stdout)
	case r.name != "":
		err = r.play(ctx)
	case o.sidecars != 0:
		err = run(ctx, o)
	default:
		err = o.peers(ctx)
	}
	if err != nil && !errors.Is(err, errSaid) {
		fmt.Fprintln(os.Stderr, "weft-bench:", err)
	}
	if err != nil {
		os.Exit(1)
	}
}

func (r role) play(ctx context.Context) error {
	switch r.name {
	case "app":
		return compare.App(ctx, r.config, os.Stdin, os.Stdout)
	case "client":
		return load.Serve(ctx, os.Stdin, os.Stdout)
	case "reverse-proxy":
		return peers.ReverseProxy(ctx, r.config)
	}
	return fmt.Errorf("there is no role %q", r.name)
}

// peers compares the data path with others, in a network of its own where that is possible.
func (o options) peers(ctx context.Context) error {
	if os.Geteuid() == 0 {
		if os.Getenv(isolated) == "" {
			return alone(ctx)
		}
		if err := settle(); err != nil {
			return err
		}
	}
	c := o.compare
	c.Bin, c.Results, c.Rounds, c.Profiles = o.bin, o.results, o.rounds, o.profiles
	return compare.Run(ctx, c)
}

// run does everything in a folder and leaves nothing behind.
func run(ctx context.Context, o options) error {
	if o.sidecars < 10 {
		return fmt.Errorf("-sim %d: at least 10 sidecars are needed, for some of them misbehave", o.sidecars)
	}
	dir := o.keep
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "weft-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	o.bin = bin
	b := &bench{opts: o, dir: dir, report: newReport(o)}
	defer b.stop()
	if err := b.all(ctx); err != nil {
		if b.mesh != nil {
			fmt.Fprintln(os.Stderr, b.mesh.Logs())
		}
		return err
	}
	return b.report.finish(o.results)
}
