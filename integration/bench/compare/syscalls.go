package compare

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/integration/bench/peers"
	"github.com/weft-mesh/weft/internal/backoff"
)

// named are the calls that perf counts apart; strace counts all.
func named() []string {
	return []string{"read", "write", "readv", "writev", "recvfrom", "sendto", "recvmsg", "sendmsg", "splice", "epoll_wait", "epoll_pwait", "epoll_ctl",
		"futex", "nanosleep", "clock_nanosleep", "sched_yield", "accept4", "close", "getpid", "timerfd_settime"}
}

const allCalls = "all"

// tracer is a program that counts the system calls of processes until it is interrupted, and how to read what it says.
type tracer struct {
	name   string
	attach time.Duration
	args   func(file, pids string) []string
	read   func(file string) (map[string]float64, error)
}

func tracers(attach time.Duration) []tracer {
	events := "raw_syscalls:sys_enter"
	for _, n := range named() {
		events += ",syscalls:sys_enter_" + n
	}
	return []tracer{
		// perf only counts; strace stops the process at every call, which makes waiting processes wait more.
		{"perf", attach, func(file, pids string) []string {
			return []string{"stat", "-x", ",", "-o", file, "-e", events, "-p", pids}
		}, readPerf},
		{"strace", attach, func(file, pids string) []string {
			args := []string{"-f", "-c", "-o", file}
			for pid := range strings.SplitSeq(pids, ",") {
				args = append(args, "-p", pid)
			}
			return args
		}, readStrace},
	}
}

// tracer tries the tracers on a process that does little.
func (r *run) tracer(ctx context.Context) (tracer, error) {
	sleeper := exec.CommandContext(ctx, "sh", "-c", "while sleep 0.05; do :; done")
	if err := sleeper.Start(); err != nil {
		return tracer{}, err
	}
	defer func() {
		_ = sleeper.Process.Kill()
		_ = sleeper.Wait() // it was killed
	}()
	var errs []error
	for _, t := range tracers(r.size.attach) {
		file := filepath.Join(r.dir, t.name)
		_, err := t.count(ctx, file, []int{sleeper.Process.Pid}, func() error { return nil })
		if err == nil {
			return t, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", t.name, err))
	}
	return tracer{}, errors.Join(errs...)
}

// count counts the system calls of processes while something happens.
func (t tracer) count(ctx context.Context, file string, pids []int, during func() error) (map[string]float64, error) {
	var list []string
	for _, pid := range pids {
		list = append(list, strconv.Itoa(pid))
	}
	os.Remove(file)
	cmd := exec.CommandContext(ctx, t.name, t.args(file, strings.Join(list, ","))...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	err := backoff.Sleep(ctx, t.attach)
	if err == nil {
		err = during()
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait() // it ends with the signal that it was sent
	if err != nil {
		return nil, err
	}
	calls, err := t.read(file)
	if err == nil && calls[allCalls] == 0 {
		err = errors.New("nothing was counted")
	}
	if err != nil {
		reason, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return nil, fmt.Errorf("%w: %s", err, reason)
	}
	return calls, nil
}

// syscalls counts the system calls of both halves in some scenarios, at full speed and at 1,000 requests a second. Without a tracer that works here
// it says so and measures nothing.
func (r *run) syscalls(ctx context.Context) error {
	fmt.Println("\nsystem calls")
	t, err := r.tracer(ctx)
	if err != nil {
		r.report.Absent["system calls"] = err.Error()
		fmt.Println("  not counted:", err)
		return nil
	}
	r.report.Facts.Tracer = t.name
	s, err := r.stage(ctx, world{}, r.names)
	if err != nil {
		return err
	}
	defer s.stop()
	chosen, _, _, err := choose(r.size.traced)
	if err != nil {
		return err
	}
	for _, sc := range chosen {
		for _, c := range s.contenders {
			calls, err := s.trace(ctx, t, c, sc, filepath.Join(r.dir, "trace"))
			if err != nil {
				return fmt.Errorf("system calls of %s, %s: %w", c.Name, sc.Name, err)
			}
			r.report.calls(sc.Name, c.Name, calls)
		}
	}
	return nil
}

// trace counts each system call for a request and hop: both halves together, divided by two.
func (s *stage) trace(ctx context.Context, t tracer, c *peers.Contender, sc scenario, file string) (map[string]float64, error) {
	spec, _ := s.spec(c, sc)
	// Connections between the halves are there before anything is counted.
	if _, err := s.client.run(spec); err != nil {
		return nil, err
	}
	spec.Warm = 0
	var done float64
	calls, err := t.count(ctx, file, spec.Pids, func() error {
		result, err := s.client.run(spec)
		done = result.Done
		return err
	})
	for name := range calls {
		calls[name] /= done * 2
	}
	return calls, err
}

// readPerf reads lines of number,unit,event,… .
func readPerf(file string) (map[string]float64, error) {
	return lines(file, func(line string) (string, string, bool) {
		fields := strings.Split(line, ",")
		if len(fields) < 3 {
			return "", "", false
		}
		name := strings.TrimPrefix(fields[2], "syscalls:sys_enter_")
		if name == "raw_syscalls:sys_enter" {
			name = allCalls
		}
		if fields[0] == "<not counted>" {
			fields[0] = "0" // nothing ran
		}
		return name, fields[0], true
	})
}

// readStrace reads a table whose columns are % time, seconds, usecs/call, calls, perhaps errors, and the name.
func readStrace(file string) (map[string]float64, error) {
	calls, err := lines(file, func(line string) (string, string, bool) {
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[0] == "%" || strings.HasPrefix(fields[0], "-") || fields[len(fields)-1] == "total" {
			return "", "", false
		}
		return fields[len(fields)-1], fields[3], true
	})
	var sum float64
	for _, n := range calls {
		sum += n
	}
	if sum > 0 {
		calls[allCalls] = sum // columns of the table's own total differ between versions
	}
	return calls, err
}

func lines(file string, read func(string) (name, count string, ok bool)) (map[string]float64, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]float64{}
	for scan := bufio.NewScanner(f); scan.Scan(); {
		name, text, ok := read(scan.Text())
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not a count", name, text)
		}
		out[name] += n
	}
	return out, nil
}
