package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Options say how hosts are made and what they run.
type Options struct {
	// Bin is the folder of the built binaries.
	Bin string
	// Debian is the folder below which Debian's packages were unpacked; empty: PATH alone.
	Debian string
	// Dir is an empty folder for everything that the hosts write.
	Dir string
	// IPv6 makes the hosts advertise their IPv6 addresses instead of their IPv4 ones.
	IPv6 bool
	// Transparent starts workloads with --capture=transparent instead of explicit upstreams.
	Transparent bool
}

// Network is a bridge with hosts on it.
type Network struct {
	opts  Options
	name  string // begins the name of every namespace
	hosts []*Host
}

const bridge = "br0"

// New makes the bridge, and removes what killed tests have left.
func New(ctx context.Context, opts Options, number *atomic.Int64) (*Network, error) {
	for _, tool := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("hosts need %s: %w", tool, err)
		}
	}
	if err := sweep(ctx); err != nil {
		return nil, err
	}
	n := &Network{opts: opts, name: fmt.Sprintf("wh%dx%d", os.Getpid(), number.Add(1))}
	err := ip(ctx, "netns", "add", n.bridge())
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", bridge, "type", "bridge"},
		{"link", "set", bridge, "up"},
	} {
		if err == nil {
			err = ip(ctx, append([]string{"-n", n.bridge()}, args...)...)
		}
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// bridge is the namespace of the bridge.
func (n *Network) bridge() string { return n.name + "-net" }

// Host adds a host. Names are short: they are part of names of interfaces.
func (n *Network) Host(ctx context.Context, name string) (*Host, error) {
	number := len(n.hosts) + 1
	h := &Host{
		Name: name, IPv4: fmt.Sprintf("10.77.0.%d", number), IPv6: fmt.Sprintf("fd77::%d", number),
		Dir: filepath.Join(n.opts.Dir, name), net: n, ns: n.name + "-" + name,
		mac: fmt.Sprintf("02:77:00:00:00:%02x", number),
	}
	n.hosts = append(n.hosts, h)
	if err := os.MkdirAll(h.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := ip(ctx, "netns", "add", h.ns); err != nil {
		return nil, err
	}
	if err := ip(ctx, "-n", h.ns, "link", "set", "lo", "up"); err != nil {
		return nil, err
	}
	return h, h.plug(ctx)
}

// Close ends every process of the hosts and removes all namespaces.
func (n *Network) Close() error {
	ctx := context.Background() // cleaning up is not cut short
	var errs []error
	for _, h := range n.hosts {
		h.stop()
		errs = append(errs, remove(ctx, h.ns))
	}
	return errors.Join(append(errs, remove(ctx, n.bridge()))...)
}

// ip runs ip(8).
func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// remove ends what still runs in a namespace, and removes it. One that is gone is what was wanted.
func remove(ctx context.Context, ns string) error {
	if _, err := os.Stat("/run/netns/" + ns); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, pid := range members(ctx, ns) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return ip(ctx, "netns", "delete", ns)
}

// members are the processes in a namespace.
func members(ctx context.Context, ns string) []int {
	out, err := exec.CommandContext(ctx, "ip", "netns", "pids", ns).Output()
	if err != nil {
		return nil
	}
	var pids []int
	for field := range strings.FieldsSeq(string(out)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// sweep removes namespaces of tests that no longer run.
func sweep(ctx context.Context) error {
	entries, err := os.ReadDir("/run/netns")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ours := regexp.MustCompile(`^wh(\d+)x\d+-`)
	var errs []error
	for _, e := range entries {
		m := ours.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		if !runs(m[1]) {
			errs = append(errs, remove(ctx, e.Name()))
		}
	}
	return errors.Join(errs...)
}

// runs says whether a process is there and has not ended: one that nobody waits for stays as a zombie.
func runs(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	state := stat[bytes.LastIndexByte(stat, ')')+1:] // behind the name, which may hold anything
	return !bytes.HasPrefix(bytes.TrimSpace(state), []byte("Z"))
}
