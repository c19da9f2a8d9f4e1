package statedir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
)

// Names of the files.
const (
	Snapshot    = "snapshot.pb"
	Stamp       = "sidecar.json"
	Key         = "svid.key"
	NextKey     = "svid.key.next"
	Certificate = "svid.pem"
	Bundle      = "bundle.pem"
	Ports       = "ports.json"
	lockFile    = "lock"
)

// ErrExposed says that other users of the machine may have changed a file, or read a key.
var ErrExposed = errors.New("it is open to other users of this machine, who may have changed or read it")

// ErrLocked says that another sidecar uses the directory.
var ErrLocked = errors.New("another sidecar is running with this state directory")

// ErrReleased says that the directory belongs to another process by now.
var ErrReleased = errors.New("the state directory has been handed over")

// Dir is an open state directory.
type Dir struct {
	path     string
	lock     *os.File
	released atomic.Bool
}

// Open makes the directory if need be, tightens its mode and locks it for this process.
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	if err := tighten(path); err != nil {
		return nil, fmt.Errorf("close state directory %q to others: %w", path, err)
	}
	lock, err := os.OpenFile(filepath.Join(path, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("lock state directory %q: %w", path, err)
	}
	return &Dir{path: path, lock: lock}, nil
}

// tighten sets the mode, but not of a directory that somebody else uses for something else: a mistyped path must not close it.
func tighten(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	ours := func(e os.DirEntry) bool { return e.Name() == lockFile }
	if len(entries) > 0 && !slices.ContainsFunc(entries, ours) {
		return errors.New("it holds files that are not a sidecar's")
	}
	return os.Chmod(path, 0o700)
}

// Adopt is Open for a directory whose lock was handed over by the process that had it.
func Adopt(path string, lock *os.File) *Dir { return &Dir{path: path, lock: lock} }

// Lock is what a process needs to adopt the directory. It is held until the last one that has it closes it.
func (d *Dir) Lock() syscall.Conn { return d.lock }

// Release leaves the directory to the process that has adopted it: this one may still read, and writes nothing any more.
func (d *Dir) Release() error {
	d.released.Store(true)
	return d.lock.Close()
}

// Close gives the lock back. After Release it does nothing.
func (d *Dir) Close() error {
	if d.released.Load() {
		return nil
	}
	return d.lock.Close()
}

// Path is the full path of a file in the directory.
func (d *Dir) Path(name string) string { return filepath.Join(d.path, name) }

// Read reads a file; the error is os.ErrNotExist when it is not there, and ErrExposed when others could write it or, if it is
// a key, read it: what it says is not trusted then, although the directory should have kept them out.
func (d *Dir) Read(name string) ([]byte, error) {
	raw, err := d.read(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return raw, nil
}

func (d *Dir) read(name string) ([]byte, error) {
	f, err := os.Open(d.Path(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	others := fs.FileMode(0o022)
	if name == Key || name == NextKey {
		others = 0o077
	}
	if mode := info.Mode().Perm(); mode&others != 0 {
		return nil, fmt.Errorf("%w: its mode is %04o, not 0600", ErrExposed, mode)
	}
	return io.ReadAll(f)
}

// Write replaces a file in one step that survives a crash: whoever reads sees the old content or the new one.
func (d *Dir) Write(name string, content []byte) error {
	if err := d.write(name, content); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (d *Dir) write(name string, content []byte) (err error) {
	if d.released.Load() {
		return ErrReleased
	}
	tmp, err := os.CreateTemp(d.path, name+".*.tmp") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), d.Path(name)); err != nil {
		return err
	}
	return syncDir(d.path)
}

// syncDir makes a rename durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Rename gives a file another name, replacing what has it.
func (d *Dir) Rename(from, to string) error {
	err := os.Rename(d.Path(from), d.Path(to))
	if err == nil {
		err = syncDir(d.path)
	}
	if err != nil {
		return fmt.Errorf("rename %s to %s: %w", from, to, err)
	}
	return nil
}

// Remove deletes a file; that there is none is no error.
func (d *Dir) Remove(name string) error {
	if err := os.Remove(d.Path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}
