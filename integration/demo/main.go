// Command demo shows Weft at work: it starts a control plane and a small shop whose programs know nothing of a mesh, sends
// load, changes policy, breaks things, and checks every promise on the way. It ends with exit code 1 if one was not kept.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/integration/harness"
)

func main() {
	last := flag.Duration("for", 0, "end by itself after this time (default: stay up until interrupted)")
	rate := flag.Int("rate", 60, "requests a second")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *last, *rate); err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %s\n", err)
		os.Exit(1)
	}
}

// run is the whole demo; whatever it starts is gone when it returns.
func run(ctx context.Context, last time.Duration, rate int) (err error) {
	began := time.Now()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weft-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d := &demo{bin: filepath.Dir(self), dir: dir, rate: rate, out: newNarrator(os.Stdout), began: began, free: harness.NewPorts()}
	defer d.stop()
	for _, step := range d.steps() {
		if err := step(ctx); err != nil {
			if ctx.Err() != nil {
				d.out.say("interrupted")
				return nil
			}
			d.dumpLogs(os.Stderr)
			return err
		}
	}
	d.out.heading("The mesh stays up")
	if last > 0 {
		ctx, cancel := context.WithDeadline(ctx, began.Add(last))
		defer cancel()
		<-ctx.Done()
	} else {
		d.out.say("try it: " + d.hint())
		d.out.say("Ctrl-C ends it")
		<-ctx.Done()
	}
	return d.summary()
}
