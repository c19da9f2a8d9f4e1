package successor_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/internal/control"
	"github.com/weft-mesh/weft/proxy/internal/successor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sidecar")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	return path
}

// TestChild: it has this process's arguments and the inherited descriptor under its number, and its end is told.
func TestChild(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd := f.Fd()
	program := script(t, `eval "echo $1 >&`+"$2"+`"; exit 3`)
	args := []string{"hello", strconv.Itoa(int(fd))}
	p, err := successor.NewChild(program, args, fd).Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if why := <-p.Ended(); why == nil || why.Error() != "exit status 3" {
		t.Errorf("end: %v", why)
	}
	if text, err := os.ReadFile(out); err != nil || string(text) != "hello\n" {
		t.Errorf("it wrote %q, %v", text, err)
	}
	slow, err := successor.NewChild(program, nil, 0).Start(t.Context(), script(t, "exec sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	slow.End()
	if why := <-slow.Ended(); why == nil || why.Error() != "signal: killed" {
		t.Errorf("end of one that was killed: %v", why)
	}
	if _, err := successor.NewChild(program, nil, 0).Start(t.Context(), "/nonexistent"); err == nil || !strings.Contains(err.Error(), "/nonexistent") {
		t.Errorf("a program that is not there: %v", err)
	}
}

// dup is a descriptor of a file that nobody else owns.
func dup(f *os.File) (uintptr, error) {
	fd, err := syscall.Dup(int(f.Fd()))
	return uintptr(fd), errors.Join(err, f.Close())
}

// TestSupervised: the supervisor is asked, its refusal is an error, and what it says of a process that was given up is not
// taken for the next one's.
func TestSupervised(t *testing.T) {
	supervisor, file, err := control.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer supervisor.Close()
	fd, err := dup(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := successor.NewSupervised(fd)
	if err != nil {
		t.Fatal(err)
	}
	say := func(m control.Message) {
		t.Helper()
		if err := supervisor.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	hears := func(kind control.Kind, pid int) control.Message {
		t.Helper()
		m, err := supervisor.Expect(t.Context(), kind)
		if err != nil || m.PID != pid {
			t.Fatalf("want %s of %d, got %+v, %v", kind, pid, m, err)
		}
		return m
	}
	say(control.Message{Kind: control.Started, Error: "no such file"})
	if _, err := s.Start(t.Context(), "x"); err == nil || err.Error() != "no such file" {
		t.Errorf("a refusal: %v", err)
	}
	if m := hears(control.Start, 0); m.Binary != "x" {
		t.Errorf("asked for %q", m.Binary)
	}
	say(control.Message{Kind: control.Started, PID: 7})
	p, err := s.Start(t.Context(), "")
	if err != nil || p.PID() != 7 {
		t.Fatalf("start: %v", err)
	}
	hears(control.Start, 0)
	p.End()
	hears(control.End, 7)
	say(control.Message{Kind: control.Ended, PID: 7, Error: "signal: killed"})
	say(control.Message{Kind: control.Started, PID: 8})
	if p, err = s.Start(t.Context(), ""); err != nil || p.PID() != 8 {
		t.Fatalf("next start: %v", err)
	}
	hears(control.Start, 0)
	say(control.Message{Kind: control.Ended, PID: 8, Error: "exit status 2"})
	if why := <-p.Ended(); why.Error() != "exit status 2" {
		t.Errorf("end: %v", why)
	}
	say(control.Message{Kind: control.Started, PID: 9})
	if p, err = s.Start(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	hears(control.Start, 0)
	p.Done()
	hears(control.Done, 9)
}
