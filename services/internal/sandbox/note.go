package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	notesDir   = "sandboxes"
	noteSuffix = ".json"
)

// note is what is remembered of a sandbox, so that its rests can be found when its maker was killed.
type note struct {
	Owner string `json:"owner"`
	// PID and Started say who made it: a number alone may be somebody else's by now.
	PID     int    `json:"pid"`
	Started string `json:"started"`
	// Link is the host's end of its veth pair, Namespace the inode of its network namespace; nothing until they are made.
	Link      string   `json:"link,omitempty"`
	Namespace uint64   `json:"namespace,omitempty"`
	Scratch   []string `json:"scratch,omitempty"`

	path string
}

// newNote writes that this process is about to make a sandbox.
func newNote(cfg Config, owner string, scratch []string) (note, error) {
	started, err := startTime(os.Getpid())
	if err != nil {
		return note{}, err
	}
	f, err := os.CreateTemp(filepath.Join(cfg.RunDir, notesDir), fmt.Sprintf("%d-*%s", os.Getpid(), noteSuffix))
	if err != nil {
		return note{}, fmt.Errorf("note of the sandbox of %s: %w", owner, err)
	}
	n := note{Owner: owner, PID: os.Getpid(), Started: started, Scratch: scratch, path: f.Name()}
	return n, errors.Join(f.Close(), n.write())
}

// add writes what has been made.
func (n *note) add(link string, ns *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(ns.Fd()), &st); err != nil {
		return fmt.Errorf("network namespace of %s: %w", n.Owner, err)
	}
	n.Link, n.Namespace = link, st.Ino
	return n.write()
}

// write replaces the file, so that nobody finds half of it.
func (n *note) write() error {
	raw, err := json.Marshal(n)
	if err == nil {
		err = os.WriteFile(n.path+".new", raw, 0o600)
	}
	if err == nil {
		err = os.Rename(n.path+".new", n.path)
	}
	if err != nil {
		return fmt.Errorf("note of the sandbox of %s: %w", n.Owner, err)
	}
	return nil
}

// notes reads those of all sandboxes.
func notes(cfg Config) ([]note, error) {
	paths, err := filepath.Glob(filepath.Join(cfg.RunDir, notesDir, "*"+noteSuffix))
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	var out []note
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("run directory: %w", err)
		}
		n := note{path: path}
		if err := json.Unmarshal(raw, &n); err != nil {
			n.Owner = "unknown: " + err.Error() // half written by somebody who was killed
		}
		out = append(out, n)
	}
	return out, nil
}

// alive says that the maker still runs.
func (n *note) alive() bool {
	started, err := startTime(n.PID)
	return err == nil && n.PID != 0 && started == n.Started
}

// startTime is field 22 of /proc/PID/stat (proc_pid_stat(5)), in ticks since the machine started.
func startTime(pid int) (string, error) {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", err
	}
	// The second field is the program's name in parentheses and may hold anything; the third follows its last parenthesis.
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	if len(fields) < 20 {
		return "", fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields)+2)
	}
	return fields[19], nil
}
