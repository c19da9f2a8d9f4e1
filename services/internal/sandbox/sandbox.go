package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Sandbox is one program's namespaces.
type Sandbox struct {
	// Addresses are those of the program on this host.
	Addresses []netip.Addr

	cfg  Config
	ns   *os.File
	note note
}

// Make makes a network namespace for an owner ("namespace/name" of a workload), which has the same addresses as last time if they
// are free. scratch are directories that go with the sandbox if its maker dies before Close.
func Make(cfg Config, owner string, scratch ...string) (_ *Sandbox, err error) {
	unlock, err := lock(cfg)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s := &Sandbox{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	// The note comes first: whatever is made after it is found by it.
	if s.note, err = newNote(cfg, owner, scratch); err != nil {
		return nil, err
	}
	if err := ensureHost(cfg); err != nil {
		return nil, err
	}
	if s.ns, err = newNamespace(); err != nil {
		return nil, fmt.Errorf("network namespace for %s: %w", owner, err)
	}
	link, number, err := connect(cfg, s.ns, owner)
	if err != nil {
		return nil, fmt.Errorf("connect the network namespace of %s: %w", owner, err)
	}
	if s.Addresses, err = configure(cfg, s.ns, number); err != nil {
		return nil, fmt.Errorf("network namespace of %s: %w", owner, err)
	}
	return s, s.note.add(link, s.ns)
}

// Namespace is the network namespace, for processes that are to face the program: valid until Close.
func (s *Sandbox) Namespace() *os.File { return s.ns }

// Close gives the namespace up, which ends with its processes, and with the last sandbox what the host had for them.
func (s *Sandbox) Close() error {
	unlock, err := lock(s.cfg)
	if err != nil {
		return err
	}
	defer unlock()
	return s.close()
}

func (s *Sandbox) close() error {
	var errs []error
	if s.note.path != "" {
		errs = append(errs, unlink(s.note.Link), os.Remove(s.note.path))
	}
	if s.ns != nil {
		errs = append(errs, s.ns.Close())
	}
	return errors.Join(append(errs, removeHost(s.cfg))...)
}

// lockFile is one for all run directories, which share the host's bridge.
const lockFile = "/run/weft-sandbox.lock"

// lock keeps others on this host from making and removing at the same time.
func lock(cfg Config) (unlock func(), err error) {
	dir := filepath.Join(cfg.RunDir, notesDir)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // names of workloads are no secrets
		return nil, fmt.Errorf("run directory: %w", err)
	}
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of this host's sandboxes: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// newNamespace makes one on a thread that comes back from it, or ends.
func newNamespace() (*os.File, error) {
	type result struct {
		ns  *os.File
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{nil, err}
			return
		}
		ns, err := os.Open("/proc/thread-self/ns/net")
		made <- result{ns, err}
	}()
	r := <-made
	return r.ns, r.err
}

// inside opens a netlink connection in a namespace.
func inside(ns *os.File) (*netlink.Handle, error) {
	return netlink.NewHandleAt(netns.NsHandle(ns.Fd()), unix.NETLINK_ROUTE)
}
