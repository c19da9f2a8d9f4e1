package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// Exit codes of `weft run` itself, as env(1) has them.
const (
	exitProgramError    = 125
	exitProgramNoExec   = 126
	exitProgramNotFound = 127
)

// program is the user's program.
type program struct {
	cmd   *exec.Cmd
	ended chan error
}

// startProgram starts the command with the addresses of its upstreams in its environment and in place of {NAME}.
func startProgram(command []string, upstreams map[string]string, where *place) (*program, error) {
	args := make([]string, len(command))
	for i, arg := range command {
		args[i] = substitute(arg, upstreams)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = programEnv(upstreams)
	// With a terminal the program stays in our group, so that it can read from it; without one it gets a group of its own,
	// so that signals reach it only through us, after it has left the mesh.
	interactive := term.IsTerminal(int(os.Stdin.Fd()))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !interactive, Pdeathsig: syscall.SIGTERM}
	if err := where.start(cmd); err != nil {
		return nil, fmt.Errorf("start program: %w", err)
	}
	p := &program{cmd: cmd, ended: make(chan error, 1)}
	go func() { p.ended <- cmd.Wait() }()
	return p, nil
}

// startLocked starts a process from a thread that lives as long as this process: Pdeathsig fires when the thread that
// started the child ends, not when the process does.
func startLocked(cmd *exec.Cmd) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		result <- cmd.Start()
		select {} // keeps the thread
	}()
	return <-result
}

func substitute(arg string, upstreams map[string]string) string {
	for name, address := range upstreams {
		arg = strings.ReplaceAll(arg, "{"+name+"}", address)
	}
	return arg
}

// programEnv is our environment without the credentials of whoever runs us, and with the upstreams.
func programEnv(upstreams map[string]string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "WEFT_TOKEN=") && !strings.HasPrefix(kv, "WEFT_JOIN_TOKEN=") {
			env = append(env, kv)
		}
	}
	for name, address := range upstreams {
		env = append(env, "WEFT_UPSTREAM_"+envName(name)+"="+address)
	}
	return env
}

func envName(name string) string {
	return strings.NewReplacer("-", "_", "/", "_", ".", "_").Replace(strings.ToUpper(name))
}

// signal passes a signal on to the program's whole group.
func (p *program) signal(sig os.Signal) {
	s, ok := sig.(syscall.Signal)
	if !ok {
		return
	}
	if p.cmd.SysProcAttr.Setpgid {
		_ = syscall.Kill(-p.cmd.Process.Pid, s)
		return
	}
	_ = p.cmd.Process.Signal(s)
}

// programExitCode is the program's own, or 128 + signal.
func programExitCode(err error) int {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		if err != nil {
			return exitProgramError
		}
		return 0
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

func programStartCode(err error) int {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return exitProgramNotFound
	}
	return exitProgramNoExec
}
