package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"

	"github.com/weft-mesh/weft/integration/bench/sim"
)

// perProcess bounds the sidecars of one process: each has two connections, and the processes that can be counted on have
// twenty thousand file descriptors.
const perProcess = 4000

// fleet is all sidecars, in several processes.
type fleet struct {
	workers []*worker
	home    map[string]*worker // by sidecar
}

// worker is one process of sidecars.
type worker struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	replies *json.Decoder
	mine    []sim.Sidecar
	mu      sync.Mutex // one request at a time
}

// startFleet starts as many processes as are needed. Sidecars of one account are in one process, which redeems its token.
func startFleet(ctx context.Context, t topology, discovery string) (*fleet, error) {
	count := (len(t.sidecars) + perProcess - 1) / perProcess
	f := &fleet{home: map[string]*worker{}}
	for i := range count {
		w, err := startWorker(ctx)
		if err != nil {
			return f, err
		}
		f.workers = append(f.workers, w)
		low, high := i*len(t.services)/count, (i+1)*len(t.services)/count
		for _, s := range t.sidecars {
			if slices.Contains(t.services[low:high], s.Account) {
				w.mine = append(w.mine, s)
				f.home[s.Name] = w
			}
		}
		if _, err := w.ask(ctx, sim.Request{Op: sim.Init, Sidecars: w.mine, Discovery: discovery}); err != nil {
			return f, err
		}
	}
	return f, nil
}

// startWorker starts a process that dies with ctx, so that whoever waits for its answer does not wait on.
func startWorker(ctx context.Context) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{cmd: exec.CommandContext(ctx, self, "-worker")}
	w.cmd.Stderr = os.Stderr
	w.cmd.Env = append(os.Environ(), "GOGC=400") // its memory is not what is measured
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.replies = json.NewDecoder(out)
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process of sidecars: %w", err)
	}
	return w, nil
}

// ask sends one request and waits for its answer.
func (w *worker) ask(ctx context.Context, r sim.Request) (sim.Reply, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var reply sim.Reply
	if err := ctx.Err(); err != nil {
		return reply, err
	}
	if err := json.NewEncoder(w.in).Encode(r); err != nil {
		return reply, fmt.Errorf("%s: ask sidecars: %w", r.Op, err)
	}
	if err := w.replies.Decode(&reply); err != nil {
		return reply, fmt.Errorf("%s: sidecars answer: %w", r.Op, err)
	}
	if reply.Err != "" {
		return reply, fmt.Errorf("%s: %s", r.Op, reply.Err)
	}
	return reply, nil
}

// all asks every process at once and joins the answers.
func (f *fleet) all(ctx context.Context, r sim.Request) (sim.Reply, error) {
	return f.each(ctx, func(*worker) sim.Request { return r })
}

func (f *fleet) each(ctx context.Context, request func(*worker) sim.Request) (sim.Reply, error) {
	out := sim.Reply{Counts: map[string]int64{}, Replicas: map[string]int64{}}
	var mu sync.Mutex
	var errs []error
	var g sync.WaitGroup
	for _, w := range f.workers {
		g.Go(func() {
			reply, err := w.ask(ctx, request(w))
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
			out.Seconds = max(out.Seconds, reply.Seconds)
			out.Times = append(out.Times, reply.Times...)
			out.Made += reply.Made
			for k, n := range reply.Counts {
				out.Counts[k] += n
			}
			for k, n := range reply.Replicas {
				out.Replicas[k] += n
			}
		})
	}
	g.Wait()
	slices.Sort(out.Times)
	return out, errors.Join(errs...)
}

// stop ends the processes and waits for them.
func (f *fleet) stop() {
	for _, w := range f.workers {
		w.in.Close()
	}
	for _, w := range f.workers {
		_ = w.cmd.Wait() // how it ended tells nothing that its answers did not
	}
}
