package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/integration/harness"
)

// Host is one machine.
type Host struct {
	// Name of it, unique on its network.
	Name string
	// IPv4 and IPv6 are its addresses.
	IPv4, IPv6 string
	// Dir holds all that it writes; its data directory is Dir/data.
	Dir string

	net *Network
	ns  string
	mac string // stays over a reboot, as it does

	mu        sync.Mutex
	processes []*harness.Process
}

// IP is the address that it advertises.
func (h *Host) IP() string {
	if h.net.opts.IPv6 {
		return h.IPv6
	}
	return h.IPv4
}

// port is the bridge's end of the host's cable.
func (h *Host) port() string { return "p-" + h.Name }

// plug lays the host's cable.
func (h *Host) plug(ctx context.Context) error {
	steps := [][]string{
		{"-n", h.net.bridge(), "link", "add", h.port(), "type", "veth", "peer", "name", "eth0", "address", h.mac, "netns", h.ns},
		{"-n", h.net.bridge(), "link", "set", h.port(), "master", bridge, "up"},
		{"-n", h.ns, "addr", "add", h.IPv4 + "/24", "dev", "eth0"},
		{"-n", h.ns, "addr", "add", h.IPv6 + "/64", "dev", "eth0", "nodad"},
		{"-n", h.ns, "link", "set", "eth0", "up"},
	}
	for _, args := range steps {
		if err := ip(ctx, args...); err != nil {
			return fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	return nil
}

// Cut cuts the host off: what it sends and what is sent to it vanishes.
func (h *Host) Cut(ctx context.Context) error {
	return ip(ctx, "-n", h.net.bridge(), "link", "set", h.port(), "nomaster")
}

// Heal undoes Cut.
func (h *Host) Heal(ctx context.Context) error {
	return ip(ctx, "-n", h.net.bridge(), "link", "set", h.port(), "master", bridge)
}

// Reboot ends every process of the host at once, as a loss of power does, and makes its network anew. What it wrote stays.
func (h *Host) Reboot(ctx context.Context) error {
	h.stop()
	if err := ip(ctx, "-n", h.net.bridge(), "link", "delete", h.port()); err != nil {
		return err
	}
	return h.plug(ctx)
}

// stop ends every process: all are stopped first, so that none sees another die and says goodbye to anybody.
func (h *Host) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.processes {
		if !p.Ended() {
			harness.KillFamily(p.Pid())
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		for _, pid := range members(context.Background(), h.ns) {
			_ = syscall.Kill(pid, sig)
		}
	}
	for _, p := range h.processes {
		p.Wait(10 * time.Second)
	}
	h.processes = nil
}

// path is where the host's programs are looked for.
func (h *Host) path() string {
	path := h.net.opts.Bin
	if d := h.net.opts.Debian; d != "" {
		path += ":" + filepath.Join(d, "usr/sbin") + ":" + filepath.Join(d, "usr/bin")
	}
	return path + ":" + os.Getenv("PATH")
}

// Env is the environment of the host's programs.
func (h *Host) Env() []string {
	return []string{
		"PATH=" + h.path(), "HOME=" + h.Dir, "WEFT_DATA_DIR=" + filepath.Join(h.Dir, "data"),
		"WEFT_RUN_DIR=" + filepath.Join(h.Dir, "run"), "WEFT_PROXY=" + filepath.Join(h.net.opts.Bin, "weft-proxy"),
	}
}

// Start starts a program on the host; its output goes to Dir/<name>.log.
func (h *Host) Start(name string, args ...string) (*harness.Process, error) {
	full, err := h.inside(args)
	if err != nil {
		return nil, err
	}
	p, err := harness.Command{Name: name, Log: h.Log(name), Env: h.Env(), Args: full}.Start()
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", h.Name, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.processes = append(h.processes, p)
	return p, nil
}

// Log is the file that a program started by Start writes to.
func (h *Host) Log(name string) string { return filepath.Join(h.Dir, name+".log") }

// Output runs a command on the host to its end, and returns both of its streams and its exit code. The error is that it
// could not be run.
func (h *Host) Output(ctx context.Context, args ...string) (string, int, error) {
	full, err := h.inside(args)
	if err != nil {
		return "", 0, err
	}
	cmd := exec.CommandContext(ctx, full[0], full[1:]...)
	cmd.Env, cmd.Dir = h.Env(), h.Dir
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	if err != nil {
		return both.String(), 0, fmt.Errorf("host %s: %s: %w", h.Name, args[0], err)
	}
	return both.String(), cmd.ProcessState.ExitCode(), nil
}

// Weft runs the command `weft` on the host.
func (h *Host) Weft(ctx context.Context, args ...string) (string, int, error) {
	return h.Output(ctx, append([]string{"weft"}, args...)...)
}

// Curl gets a URL; an answer that is no success is an error.
func (h *Host) Curl(ctx context.Context, args ...string) (string, error) {
	out, code, err := h.Output(ctx, append([]string{"curl", "-fsS", "--max-time", "10"}, args...)...)
	if err == nil && code != 0 {
		err = fmt.Errorf("host %s: curl %s: exit code %d: %s", h.Name, strings.Join(args, " "), code, out)
	}
	return out, err
}

// inside is a command line that runs in the host's namespace, without a process in between.
func (h *Host) inside(args []string) ([]string, error) {
	path, err := h.look(args[0])
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", h.Name, err)
	}
	return append([]string{"nsenter", "--net=/run/netns/" + h.ns, "--", path}, args[1:]...), nil
}

// look finds a program in the host's PATH.
func (h *Host) look(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for dir := range strings.SplitSeq(h.path(), ":") {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("%s is not in the host's PATH", name)
}

// Logs is the end of every log of the host, for a test that failed.
func (h *Host) Logs() string {
	const tail = 3000
	files, _ := filepath.Glob(filepath.Join(h.Dir, "*.log"))
	var b strings.Builder
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil && len(data) > 0 {
			fmt.Fprintf(&b, "--- %s/%s\n%s\n", h.Name, filepath.Base(f), data[max(0, len(data)-tail):])
		}
	}
	return b.String()
}
