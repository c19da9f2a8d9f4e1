package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/supervise"
)

// sidecar is the weft-proxy that belongs to one `weft run`. It is started again when it dies.
type sidecar struct {
	dir   string
	last  os.FileInfo // of the ports.json of an earlier run, which the sidecar takes its ports from; nil without one
	ports ports

	left       bool
	supervisor *supervise.Supervisor
	exited     chan error // gets the end of the last process
	done       chan struct{}
}

// ports is what weft-proxy writes to ports.json.
type ports struct {
	Mesh      string            `json:"mesh"`
	Inbound   string            `json:"inbound"`
	Admin     string            `json:"admin"`
	Upstreams map[string]string `json:"upstreams"`
}

// startSidecar starts weft-proxy with a token for the workload, or without one when it has an identity already.
func (o *options) startSidecar(f *runFlags, binary, token string, where *place) (*sidecar, error) {
	if err := os.MkdirAll(f.stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	car := &sidecar{dir: f.stateDir, exited: make(chan error, 1), done: make(chan struct{})}
	car.last, _ = os.Stat(filepath.Join(f.stateDir, portsFile))
	car.supervisor = supervise.New(supervise.Config{
		Binary: binary,
		Command: func(binary string, takeOver bool, supervisor *os.File) *exec.Cmd {
			return o.proxyCommand(f, binary, token, takeOver, where, supervisor)
		},
		Start: startLocked, Hopeless: car.early, Progress: o.streams.Err,
	})
	go func() {
		defer close(car.done)
		car.exited <- car.supervisor.Run()
	}()
	return car, nil
}

// firstExtra is the number that the first of exec.Cmd's ExtraFiles gets.
const firstExtra = 3

// proxyCommand starts weft-proxy. It finds its identity and configuration in its state directory when it starts again, so the
// token is of use only once.
func (o *options) proxyCommand(f *runFlags, binary, token string, takeOver bool, where *place, supervisor *os.File) *exec.Cmd {
	files := append(where.proxyFiles(), supervisor)
	args := append(o.proxyArgs(f), where.proxyArgs()...)
	args = append(args, "--supervisor-fd", strconv.Itoa(firstExtra+len(files)-1))
	if takeOver {
		args = append(args, "--take-over")
	}
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = o.streams.Out, o.streams.Err
	cmd.Env = append(os.Environ(), "WEFT_JOIN_TOKEN="+token)
	cmd.ExtraFiles = files
	// A group of its own, so that a terminal's Ctrl-C reaches it only through us; and never to outlive us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return cmd
}

// checkRun checks what weft run was given, as the sidecar would; nothing is started.
func (o *options) checkRun(ctx context.Context, f *runFlags) error {
	binary, err := findProxy(f.proxy)
	if err != nil {
		return codeError{exitProgramError, err}
	}
	if f.advertise == "" {
		f.advertise = "127.0.0.1"
	}
	cmd := exec.CommandContext(ctx, binary, append(o.proxyArgs(f), "--check-config")...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return codeError{exitInvalid, fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))}
	}
	fmt.Fprintln(o.streams.Out, "configuration is valid")
	return nil
}

const portsFile = "ports.json"

var errEnded = errors.New("it ended by itself")

// findProxy looks where the user says, beside this program, and in PATH.
func findProxy(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "weft-proxy")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath("weft-proxy")
	if err != nil {
		return "", errors.New("weft-proxy is neither beside weft nor in PATH: give its path with --proxy")
	}
	return path, nil
}

func (o *options) proxyArgs(f *runFlags) []string {
	args := []string{"--namespace", o.namespace, "--workload", f.name, "--state-dir", f.stateDir, "--log-level", f.logLevel, "--advertise", f.advertise}
	if f.service != "" {
		args = append(args, "--service", f.service, "--app-port", strconv.Itoa(int(f.port)))
	}
	if f.protocol != "" {
		args = append(args, "--protocol", f.protocol)
	}
	if f.udp {
		args = append(args, "--udp")
	}
	if f.accessLog {
		args = append(args, "--access-log")
	}
	for _, l := range f.labels {
		args = append(args, "--label", l)
	}
	for _, u := range f.upstreams {
		args = append(args, "--upstream", u)
	}
	return args
}

// early says that the sidecar has never been up: starting it again would not help.
func (s *sidecar) early() bool { return !s.up() }

// up says that this run's sidecar has written where it listens.
func (s *sidecar) up() bool {
	info, err := os.Stat(filepath.Join(s.dir, portsFile))
	return err == nil && (s.last == nil || !os.SameFile(s.last, info) || !s.last.ModTime().Equal(info.ModTime()))
}

// waitStarted blocks until the sidecar has an identity and a first configuration. The code is that of `weft run` if it never
// gets them.
func (s *sidecar) waitStarted(ctx context.Context, signals <-chan os.Signal, progress io.Writer) (int, error) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	limit := time.After(30 * time.Second)
	slow := time.After(time.Second)
	for {
		select {
		case <-ticker.C:
			if s.up() && s.readPorts() == nil && s.get(ctx, "/startupz") == nil {
				return 0, nil
			}
		case <-slow:
			fmt.Fprintln(progress, "weft: the program starts when its sidecar has an identity and a configuration; waiting for these")
		case err := <-s.exited:
			s.exited <- err
			return exitProgramError, notStarted(err)
		case sig := <-signals:
			number, _ := sig.(syscall.Signal)
			return 128 + int(number), fmt.Errorf("stopped by %v before the program was started", sig)
		case <-limit:
			return exitProgramError, errors.New("sidecar has no identity or configuration after 30s: see `weft status`")
		case <-ctx.Done():
			return exitProgramError, ctx.Err()
		}
	}
}

// notStarted says why there is no sidecar; one that ran has told more on standard error.
func notStarted(err error) error {
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) {
		return fmt.Errorf("sidecar could not start, its messages are above: %w", cmp.Or(err, errEnded))
	}
	return fmt.Errorf("sidecar could not start: %w", err)
}

func (s *sidecar) readPorts() error {
	data, err := os.ReadFile(filepath.Join(s.dir, portsFile))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, &s.ports)
}

func (s *sidecar) get(ctx context.Context, path string) error {
	_, err := s.admin(ctx, http.MethodGet, path)
	return err
}

func (s *sidecar) admin(ctx context.Context, method, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.ports.Admin+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(body))
	}
	return body, err
}

// deregister takes the workload out of the catalogue. The revision is nil when it was not in it, or has been taken out before.
func (s *sidecar) deregister(ctx context.Context) (*typepb.RevisionVector, error) {
	if s.left {
		return nil, nil
	}
	s.left = true
	body, err := s.admin(ctx, http.MethodPost, "/deregister")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Revision json.RawMessage `json:"revision"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Revision) == 0 || string(answer.Revision) == "null" {
		return nil, err
	}
	revision := &typepb.SourceRevision{}
	if err := protojson.Unmarshal(answer.Revision, revision); err != nil {
		return nil, fmt.Errorf("revision: %w", err)
	}
	return &typepb.RevisionVector{Revisions: []*typepb.SourceRevision{revision}}, nil
}

// stop lets the sidecar drain and waits for its end.
func (s *sidecar) stop() {
	s.supervisor.Stop()
	<-s.done
}

// upstreams maps each upstream, as named on the command line, to its loopback address.
func (s *sidecar) upstreams() map[string]string {
	return upstreamNames(s.ports.Upstreams)
}

// upstreamNames turns the keys of ports.json into the names that programs use. "namespace/name:53/udp" is "name/udp", and "name"
// unless that is a port of TCP.
func upstreamNames(addresses map[string]string) map[string]string {
	out, udp := map[string]string{}, map[string]string{}
	for key, address := range addresses {
		name, port, _ := strings.Cut(key, ":")
		_, service, _ := strings.Cut(name, "/")
		if strings.HasSuffix(port, udpSuffix) {
			udp[name], udp[service] = address, address
		} else {
			out[name], out[service] = address, address
		}
	}
	for name, address := range udp {
		out[name+udpSuffix] = address
		if out[name] == "" {
			out[name] = address
		}
	}
	return out
}

// udpSuffix ends the key and the name of an upstream that is reached by UDP.
const udpSuffix = "/udp"

func ignoreConvergence(*configpb.Convergence) {}

// suffix is five random characters that are easy to read.
func suffix() string {
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	raw := make([]byte, 5)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	for i, b := range raw {
		raw[i] = alphabet[int(b)%len(alphabet)]
	}
	return string(raw)
}
