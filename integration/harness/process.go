package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Command is a program to start.
type Command struct {
	// Name of it in errors.
	Name string
	// Log is the file that its output is added to.
	Log string
	// Stdout gets its standard output instead of Log, unless nil.
	Stdout io.Writer
	// Dir is where it runs; empty: where we do.
	Dir string
	// Env is its whole environment; nil: ours.
	Env []string
	// Args are the program's path and its arguments.
	Args []string
}

// Process is one program in a process group of its own.
type Process struct {
	Command
	cmd   *exec.Cmd
	ended chan struct{}
}

// Start starts the program.
func (c Command) Start() (*Process, error) {
	file, err := os.OpenFile(c.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	cmd.Stdout, cmd.Stderr = file, file
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{Command: c, cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // callers look at what the mesh says, not at how a process ended
	}()
	return p, nil
}

// Pid of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended says whether the process has gone.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Signal reaches the whole process group.
func (p *Process) Signal(sig syscall.Signal) {
	if !p.Ended() {
		_ = syscall.Kill(-p.cmd.Process.Pid, sig)
	}
}

// Wait says whether the process has gone within a time.
func (p *Process) Wait(limit time.Duration) bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(limit):
		return false
	}
}

// Join waits until the process has gone by itself; its end must come before ctx's.
func (p *Process) Join(ctx context.Context) error {
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s does not end: %w", p.Name, ctx.Err())
	}
}

// End asks the process to stop, and kills it when it does not. One that is paused goes on first, to hear of it.
func (p *Process) End() {
	p.Signal(syscall.SIGCONT)
	p.Signal(syscall.SIGTERM)
	if !p.Wait(40 * time.Second) {
		p.Signal(syscall.SIGKILL)
		p.Wait(5 * time.Second)
	}
}

// Fatal ends Eventually at once.
type Fatal struct{ Err error }

// Error is that of the cause.
func (f Fatal) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f Fatal) Unwrap() error { return f.Err }

// Eventually repeats a check until it passes or ctx ends.
func Eventually(ctx context.Context, check func() error) error {
	for {
		err := check()
		if err == nil || errors.As(err, &Fatal{}) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("in vain: %w", err)
		case <-time.After(30 * time.Millisecond):
		}
	}
}

func getOK(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}
