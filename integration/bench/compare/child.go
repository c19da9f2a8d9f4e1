package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/weft-mesh/weft/integration/bench/app"
	"github.com/weft-mesh/weft/integration/bench/load"
)

// child is a process of this program in another role, which answers lines of JSON with lines of JSON. It dies with ctx.
type child struct {
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
}

func startChild(ctx context.Context, cores, role, config string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{name: role, cmd: exec.CommandContext(ctx, "taskset", "-c", cores, self, "-role", role, "-role-config", config)}
	c.cmd.Stderr = os.Stderr
	c.cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=400")
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.answers = json.NewDecoder(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	return c, nil
}

func (c *child) ask(question, answer any) error {
	if err := json.NewEncoder(c.in).Encode(question); err != nil {
		return fmt.Errorf("ask %s: %w", c.name, err)
	}
	if err := c.answers.Decode(answer); err != nil {
		return fmt.Errorf("%s answers: %w", c.name, err)
	}
	return nil
}

func (c *child) stop() {
	if c != nil {
		c.in.Close()
		_ = c.cmd.Wait() // how it ended tells nothing that its answers did not
	}
}

// counts are connections that the app has accepted so far, by protocol.
type counts map[string]int64

// App is the role of the app: it serves, and answers every line with its counts.
func App(ctx context.Context, config string, in io.Reader, out io.Writer) error {
	var at app.Addresses
	if err := json.Unmarshal([]byte(config), &at); err != nil {
		return fmt.Errorf("addresses of the app: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var c app.Counts
	failed := make(chan error, 1)
	go func() { failed <- app.Run(ctx, at, &c) }()
	done := make(chan error, 1)
	go func() {
		questions, answers := json.NewDecoder(in), json.NewEncoder(out)
		for {
			var question any
			err := questions.Decode(&question)
			if err == nil {
				err = answers.Encode(counts{"http": c.HTTP.Load(), "grpc": c.GRPC.Load(), "tcp": c.TCP.Load()})
			}
			if err != nil {
				done <- nil // whoever asks has gone
				return
			}
		}
	}()
	select {
	case err := <-failed:
		return err
	case err := <-done:
		return err
	}
}

// run has the client make a load.
func (c *child) run(s load.Spec) (load.Result, error) {
	var r load.Result
	if err := c.ask(s, &r); err != nil {
		return r, err
	}
	if r.Err != "" {
		return r, fmt.Errorf("client: %s", r.Err)
	}
	return r, nil
}
