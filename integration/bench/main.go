package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

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
}

func main() {
	var o options
	worker := flag.Bool("worker", false, "be a process of simulated sidecars (used by this command itself)")
	flag.IntVar(&o.sidecars, "sim", 1000, "number of sidecars")
	flag.StringVar(&o.bin, "bin", "bin", "folder of the built binaries")
	flag.StringVar(&o.results, "results", "", "folder that the results are written to; empty: only printed")
	flag.StringVar(&o.keep, "dir", "", "folder for everything that the control plane writes, kept afterwards; empty: one that is removed")
	flag.StringVar(&o.profiles, "profiles", "", "folder for profiles of the distributor; empty: none. They cost CPU themselves")
	flag.IntVar(&o.seconds, "seconds", 20, "how long to measure what is measured over a time")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each change is made")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := error(nil)
	if *worker {
		err = sim.Serve(ctx, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "weft-bench:", err)
		os.Exit(1)
	}
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
