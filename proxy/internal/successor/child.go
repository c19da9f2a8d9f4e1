package successor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Child starts a child of this process, with this process's environment and standard streams.
type Child struct {
	program string
	args    []string
	inherit uintptr
}

// NewChild makes a starter. program and args are those of this process; inherit is a file descriptor that the new process finds
// under the same number, 0: none.
func NewChild(program string, args []string, inherit uintptr) *Child {
	// Found now, because the directory may be another one later; not resolved, because a link may lead elsewhere by then.
	if path, err := exec.LookPath(program); err == nil {
		if abs, err := filepath.Abs(path); err == nil {
			program = abs
		}
	}
	return &Child{program: program, args: args, inherit: inherit}
}

// Start is of Starter.
func (c *Child) Start(_ context.Context, binary string) (Process, error) {
	if binary == "" {
		binary = c.program
	}
	cmd := exec.Command(binary, c.args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if c.inherit != 0 {
		const first = 3 // the number of the first of exec.Cmd's ExtraFiles
		fd, err := syscall.Dup(int(c.inherit))
		if err != nil {
			return nil, fmt.Errorf("start %s: file descriptor %d: %w", binary, c.inherit, err)
		}
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "inherited")
		defer f.Close()
		cmd.ExtraFiles = make([]*os.File, c.inherit-first+1)
		cmd.ExtraFiles[c.inherit-first] = f
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	p := &child{cmd: cmd, ended: make(chan error, 1)}
	go func() {
		err := cmd.Wait()
		if err == nil {
			err = errors.New("exit status 0")
		}
		p.ended <- err
	}()
	return p, nil
}

type child struct {
	cmd   *exec.Cmd
	ended chan error
}

func (c *child) PID() int            { return c.cmd.Process.Pid }
func (c *child) Ended() <-chan error { return c.ended }
func (c *child) End()                { _ = c.cmd.Process.Kill() } // it has ended when this fails
func (c *child) Done()               {}
