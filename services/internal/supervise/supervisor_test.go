package supervise_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/weft-mesh/weft/internal/control"
	"github.com/weft-mesh/weft/services/internal/supervise"
)

// play is the environment variable that makes this test's program a sidecar, which does what its words say one after the other.
const play = "WEFT_TEST_SIDECAR"

func TestMain(m *testing.M) {
	if words := os.Getenv(play); words != "" {
		os.Exit(sidecar(words))
	}
	os.Exit(m.Run())
}

// sidecar says what it does on standard output.
func sidecar(words string) int {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	conn, err := control.FromFile(os.NewFile(3, "supervisor"))
	if err != nil {
		return 100
	}
	var next control.Message
	for word := range strings.FieldsSeq(words) {
		verb, arg, _ := strings.Cut(word, ":")
		switch verb {
		case "say":
			fmt.Println(arg)
		case "stay":
			<-term
		case "crash":
			return 7
		case "start": // words with commas for spaces
			err = conn.Send(control.Message{Kind: control.Start, Binary: strings.ReplaceAll(arg, ",", " ")})
			if err == nil {
				next, err = conn.Expect(context.Background(), control.Started)
			}
			fmt.Println("started", next.Error)
		case "done":
			err = conn.Send(control.Message{Kind: control.Done, PID: next.PID})
		case "end":
			err = conn.Send(control.Message{Kind: control.End, PID: next.PID})
		case "ended":
			var m control.Message
			m, err = conn.Expect(context.Background(), control.Ended)
			fmt.Println("ended", m.Error)
		}
		if err != nil {
			return 101
		}
	}
	return 0
}

// run supervises a sidecar and returns what its processes say, and what stops it.
func run(t *testing.T, words string, hopeless bool) (lines *bufio.Scanner, stop func() (progress string, err error)) {
	t.Helper()
	said, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var progress bytes.Buffer
	s := supervise.New(supervise.Config{
		Binary: words,
		Command: func(words string, takeOver bool, supervisor *os.File) *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), play+"="+words)
			cmd.Stdout, cmd.ExtraFiles = out, []*os.File{supervisor}
			if strings.HasPrefix(words, "missing") {
				cmd.Path = "/nonexistent"
			}
			return cmd
		},
		Start: (*exec.Cmd).Start, Hopeless: func() bool { return hopeless }, Progress: &progress,
	})
	done := make(chan error, 1)
	go func() { done <- s.Run() }()
	return bufio.NewScanner(said), func() (string, error) {
		s.Stop()
		err := <-done
		out.Close()
		said.Close()
		return progress.String(), err
	}
}

func expect(t *testing.T, lines *bufio.Scanner, want ...string) {
	t.Helper()
	for _, w := range want {
		if !lines.Scan() || strings.TrimSpace(lines.Text()) != w {
			t.Fatalf("want %q, got %q, %v", w, lines.Text(), lines.Err())
		}
	}
}

// TestTheEndOfAProcessThatWasReplacedIsNoCrash: the new one is the sidecar then.
func TestTheEndOfAProcessThatWasReplacedIsNoCrash(t *testing.T) {
	lines, stop := run(t, "start:say:second,stay done", false)
	expect(t, lines, "started", "second")
	progress, err := stop()
	if err != nil {
		t.Errorf("Run: %v", err)
	}
	if progress != "" {
		t.Errorf("it was taken for a crash: %s", progress)
	}
}

func TestAnUpgradeThatFailsLeavesTheSidecarAlone(t *testing.T) {
	lines, stop := run(t, "start:missing start:crash ended start:stay end ended say:still-here stay", false)
	expect(t, lines, "started fork/exec /nonexistent: no such file or directory", "started", "ended exit status 7", "started", "ended signal: killed", "still-here")
	if progress, err := stop(); err != nil || progress != "" {
		t.Errorf("Run: %v; %s", err, progress)
	}
}

func TestACrashIsRepaired(t *testing.T) {
	lines, stop := run(t, "say:up crash", false)
	expect(t, lines, "up", "up")
	if progress, _ := stop(); !strings.Contains(progress, "sidecar ended (exit status 7), starting it again") {
		t.Errorf("progress: %s", progress)
	}
}

func TestASidecarThatNeverCameUpIsNotStartedAgain(t *testing.T) {
	_, stop := run(t, "missing", true)
	if progress, err := stop(); err == nil || progress != "" {
		t.Errorf("Run: %v; %s", err, progress)
	}
}
