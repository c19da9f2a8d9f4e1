package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/integration/harness"
)

// demo is the state of one run.
type demo struct {
	bin   string // folder of the binaries
	dir   string // folder of this run, removed at the end
	rate  int
	out   *narrator
	began time.Time

	free      *harness.Ports
	ports     map[string]int // of the control plane, by flag
	plane     *harness.Process
	shop      map[string]*harness.Process // by workload name
	tally     *watcher
	processes []*harness.Process

	languages   []string
	transparent bool // programs' traffic is captured
	propagation []time.Duration
	outage      tally // what the load saw while the control plane was away
}

func (d *demo) weft() string { return filepath.Join(d.bin, "weft") }

// env points every weft command of the demo at the demo's own mesh.
func (d *demo) env() []string {
	return []string{"WEFT_GATEWAY=" + d.gateway(), "WEFT_DATA_DIR=" + filepath.Join(d.dir, "data"), "WEFT_PROXY=" + filepath.Join(d.bin, "weft-proxy"),
		"WEFT_RUN_DIR=" + filepath.Join(d.dir, "run"), "WEFT_CAPTURE=" + d.mode()}
}

func (d *demo) gateway() string { return fmt.Sprintf("127.0.0.1:%d", d.ports["gateway-port"]) }

// hint is a command line that works in another terminal.
func (d *demo) hint() string {
	return fmt.Sprintf("WEFT_GATEWAY=%s WEFT_DATA_DIR=%s/data %s top", d.gateway(), d.dir, d.weft())
}

// choosePorts fixes the control plane's ports, so that it is found again after a restart.
func (d *demo) choosePorts() error {
	d.ports = map[string]int{}
	for _, name := range []string{"discovery", "identity", "policy", "telemetry", "distributor", "gateway"} {
		p, err := d.free.Service()
		if err != nil {
			return err
		}
		d.ports[name+"-port"] = p
	}
	p, err := d.free.Port()
	d.ports["gateway-rest-port"] = p
	return err
}

// startPlane starts `weft up` and returns when every component is ready.
func (d *demo) startPlane(ctx context.Context) (time.Duration, error) {
	args := []string{d.weft(), "up", "--log-level", "warn"}
	for flag, port := range d.ports {
		args = append(args, fmt.Sprintf("--%s=%d", flag, port))
	}
	began := time.Now()
	p, err := d.start("weft-up", nil, args...)
	if err != nil {
		return 0, err
	}
	d.plane = p
	err = d.eventually(ctx, 30*time.Second, func() error {
		if p.Ended() {
			return harness.Fatal{Err: errors.New("weft up ended")}
		}
		status, err := d.status(ctx)
		if err != nil {
			return err
		}
		for _, c := range status.Components {
			if !c.Ready {
				return fmt.Errorf("%s is not ready: %s", c.Component, c.Message)
			}
		}
		return nil
	})
	return time.Since(began), err
}

// status is what `weft status -o json` says.
type status struct {
	Components []struct {
		Component, Message string
		Ready              bool
	}
	Sidecars []struct {
		Namespace, Workload, SpiffeID string
		Connected, Behind             bool
	}
}

func (d *demo) status(ctx context.Context) (*status, error) {
	s := &status{}
	return s, d.ask(ctx, s, "status")
}

// edges is what `weft top -o json` says.
type edges struct {
	Rows []struct {
		Edge struct {
			Source, Service, DestinationWorkload, Version, Protocol string
			MTLS                                                    bool `json:"mtls"`
		}
		Requests, Successes string
		P50, P99            string
		Failures            map[string]string
	}
}

func (d *demo) top(ctx context.Context, args ...string) (*edges, error) {
	e := &edges{}
	return e, d.ask(ctx, e, append([]string{"top"}, args...)...)
}

// ask runs a weft command with -o json and reads its answer.
func (d *demo) ask(ctx context.Context, into any, args ...string) error {
	out, errOut, err := d.run(ctx, append(args, "-o", "json")...)
	if err != nil {
		return fmt.Errorf("weft %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errOut))
	}
	return json.Unmarshal([]byte(out), into)
}

// run runs a weft command.
func (d *demo) run(ctx context.Context, args ...string) (out, errOut string, err error) {
	cmd := exec.CommandContext(ctx, d.weft(), args...)
	cmd.Env = append(os.Environ(), d.env()...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.String(), stderr.String(), err
}

// show runs a weft command for the audience. typed is how a person would write it.
func (d *demo) show(ctx context.Context, typed string, args ...string) (string, error) {
	d.out.typed(typed)
	out, errOut, err := d.run(ctx, args...)
	d.out.shown(out + errOut)
	if m := regexp.MustCompile(`affected, (\S+) after it was compiled`).FindStringSubmatch(errOut); m != nil {
		if took, err := time.ParseDuration(m[1]); err == nil {
			d.propagation = append(d.propagation, took)
		}
	}
	return out, err
}

// apply writes a manifest into the run's folder and applies it for the audience.
func (d *demo) apply(ctx context.Context, name, manifest string) error {
	file := filepath.Join(d.dir, name)
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		return err
	}
	_, err := d.show(ctx, "weft apply --wait -f "+name, "apply", "--wait", "-f", file)
	return err
}

// eventually repeats a check until it passes, for so long at most.
func (d *demo) eventually(ctx context.Context, limit time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return harness.Eventually(ctx, check)
}

// pause lets time pass, or ends early when the demo does.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop ends everything that the demo has started: the programs first, so that they leave the mesh in order.
func (d *demo) stop() {
	for _, p := range d.processes {
		if p != d.plane {
			p.Signal(syscall.SIGTERM)
		}
	}
	for _, p := range d.processes {
		if p != d.plane && !p.Wait(15*time.Second) {
			p.Signal(syscall.SIGKILL)
		}
	}
	if d.plane != nil {
		d.plane.Signal(syscall.SIGTERM)
		if !d.plane.Wait(15 * time.Second) {
			d.plane.Signal(syscall.SIGKILL)
		}
	}
	if d.transparent { // of the instance that was killed on purpose
		_, _, _ = d.run(context.Background(), "check", "--clean")
	}
}

// dumpLogs shows the end of every log, for a demo that failed.
func (d *demo) dumpLogs(w io.Writer) {
	const tail = 1500
	for _, p := range d.processes {
		data, err := os.ReadFile(p.Log)
		if err != nil || len(data) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n--- %s\n%s\n", p.Name, data[max(0, len(data)-tail):])
	}
}
