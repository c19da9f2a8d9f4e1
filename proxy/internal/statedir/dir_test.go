package statedir

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestDirectoryIsClosedToOthersAndLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sidecars", "default.web-1")
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := Open(path)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode: want 0700, got %v, %v", info.Mode().Perm(), err)
	}
	if _, err := Open(path); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open: want %v, got %v", ErrLocked, err)
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path)
	if err != nil {
		t.Fatalf("Open after Close: %v", err)
	}
	defer again.Close()
}

func TestWriteReplacesAndLeavesNothingBehind(t *testing.T) {
	path := t.TempDir()
	dir, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	for _, content := range []string{"one", "two"} {
		if err := dir.Write(Ports, []byte(content)); err != nil {
			t.Fatalf("Write: %v", err)
		}
		got, err := dir.Read(Ports)
		if err != nil || string(got) != content {
			t.Errorf("want %q, got %q, %v", content, got, err)
		}
	}
	info, err := os.Stat(dir.Path(Ports))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: want 0600, got %v, %v", info.Mode().Perm(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(path, "*.tmp")); len(left) > 0 {
		t.Errorf("temporary files left: %q", left)
	}
	if err := errors.Join(dir.Remove(Ports), dir.Remove(Ports)); err != nil {
		t.Errorf("Remove twice: %v", err)
	}
	if _, err := dir.Read(Ports); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Read of a removed file: want %v, got %v", os.ErrNotExist, err)
	}
}

func TestDirectoryOfSomebodyElseIsLeftAlone(t *testing.T) {
	path := t.TempDir()
	if err := errors.Join(os.Chmod(path, 0o755), os.WriteFile(filepath.Join(path, "thesis.txt"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil {
		t.Error("a directory with other files was taken")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode: want 0755, got %v, %v", info.Mode().Perm(), err)
	}
}

// TestDirectoryIsHandedOver: the lock never opens in between, and who has given the directory away does not write to it.
func TestDirectoryIsHandedOver(t *testing.T) {
	path := t.TempDir()
	old, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	raw, err := old.Lock().SyscallConn()
	if err == nil {
		err = raw.Control(func(n uintptr) { fd, _ = syscall.Dup(int(n)) })
	}
	if err != nil || fd < 0 {
		t.Fatalf("lock: %d, %v", fd, err)
	}
	heir := Adopt(path, os.NewFile(uintptr(fd), "lock"))
	if err := errors.Join(old.Write(Ports, []byte("old")), old.Release(), old.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrLocked) {
		t.Errorf("Open while the heir has it: want %v, got %v", ErrLocked, err)
	}
	if err := old.Write(Ports, []byte("late")); !errors.Is(err, ErrReleased) {
		t.Errorf("Write after Release: want %v, got %v", ErrReleased, err)
	}
	if got, err := old.Read(Ports); err != nil || string(got) != "old" {
		t.Errorf("Read after Release: %q, %v", got, err)
	}
	if err := errors.Join(heir.Write(Ports, []byte("new")), heir.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path)
	if err != nil {
		t.Fatalf("Open after the heir's Close: %v", err)
	}
	again.Close()
}
