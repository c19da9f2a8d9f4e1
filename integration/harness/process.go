package harness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Process is one program in a process group of its own.
type Process struct {
	name  string
	cmd   *exec.Cmd
	ended chan struct{}
}

// StartProcess starts a program whose output is added to a log file.
func StartProcess(name, log string, env []string, command ...string) (*Process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = file, file
	if env != nil {
		cmd.Env = env
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{name: name, cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // tests look at what the mesh says, not at how a process ended
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

// End asks the process to stop, and kills it when it does not.
func (p *Process) End() {
	p.Signal(syscall.SIGTERM)
	if !p.Wait(40 * time.Second) {
		p.Signal(syscall.SIGKILL)
		p.Wait(5 * time.Second)
	}
}

// Fatal ends Eventually at once.
type Fatal struct{ error }

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
