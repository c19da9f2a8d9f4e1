package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Leftover is what a killed `weft run` left behind.
type Leftover struct {
	// Owner is "namespace/name" of the workload, or what else is known; empty: the bridge without any sandbox.
	Owner string
	// Processes still live in its network namespace.
	Processes []int
}

// Leftovers finds what nobody owns any more. It changes nothing.
func Leftovers(cfg Config) ([]Leftover, error) {
	all, err := notes(cfg)
	if err != nil {
		return nil, err
	}
	var out []Leftover
	for i := range all {
		if all[i].alive() {
			continue
		}
		out = append(out, Leftover{Owner: all[i].Owner, Processes: processes(all[i].Namespace)})
	}
	if bridge, err := netlink.LinkByName(cfg.Bridge); err == nil && len(out) == 0 {
		if used, err := inhabited(bridge); err == nil && !used {
			out = append(out, Leftover{})
		}
	}
	return out, nil
}

// Clean removes what Leftovers finds: it kills the processes, and removes interfaces, directories and notes.
func Clean(cfg Config) ([]Leftover, error) {
	unlock, err := lock(cfg)
	if err != nil {
		return nil, err
	}
	defer unlock()
	found, err := Leftovers(cfg)
	if err != nil || len(found) == 0 {
		return found, err
	}
	all, err := notes(cfg)
	if err != nil {
		return nil, err
	}
	var errs []error
	for i := range all {
		if !all[i].alive() {
			errs = append(errs, all[i].remove())
		}
	}
	return found, errors.Join(append(errs, removeHost(cfg))...)
}

// remove ends what is left of one sandbox.
func (n *note) remove() error {
	var errs []error
	for _, pid := range processes(n.Namespace) {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("kill process %d of %s: %w", pid, n.Owner, err))
		}
	}
	errs = append(errs, unlink(n.Link))
	for _, dir := range n.Scratch {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(append(errs, os.Remove(n.path))...)
}

// processes are those in a network namespace, given by its inode. 0 is none.
func processes(namespace uint64) []int {
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil || namespace == 0 {
		return nil
	}
	var pids []int
	want := fmt.Sprintf("net:[%d]", namespace)
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != want {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
