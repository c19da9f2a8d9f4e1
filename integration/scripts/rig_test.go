package scripts

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
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weft-mesh/weft/integration/harness"
)

// rig is what the scripts of one mode share.
type rig struct {
	bin     string
	debian  string
	clients string
	split   bool
	ports   *harness.Ports
}

// world is what one script has started.
type world struct {
	mesh     *harness.Mesh
	programs map[string]*harness.Process
}

type worldKey struct{}

func (r *rig) setup(env *testscript.Env) error {
	w := &world{programs: map[string]*harness.Process{}}
	env.Values[worldKey{}] = w
	env.Vars = append(env.Vars, "PATH="+r.bin+":"+r.clientsPath()+r.debianPath()+os.Getenv("PATH"), "WEFT_BIN="+r.bin, "DEBIAN="+r.debian,
		// Scripts need no privilege, and behave alike for those who have it; integration/hosts has the captured ones.
		"WEFT_CAPTURE=explicit")
	docs, err := filepath.Abs(filepath.Join("..", "..", "docs"))
	if err != nil {
		return err
	}
	env.Vars = append(env.Vars, "DOCS="+docs)
	if r.debian != "" {
		env.Vars = append(env.Vars, "DEBIAN_LIB="+filepath.Join(r.debian, "usr/lib/x86_64-linux-gnu"))
	}
	for i := range 8 {
		p, err := r.ports.Port()
		if err != nil {
			return err
		}
		env.Vars = append(env.Vars, fmt.Sprintf("PORT%d=%d", i+1, p))
	}
	env.Defer(func() {
		for _, p := range w.programs {
			p.Signal(syscall.SIGTERM)
		}
		for _, p := range w.programs {
			p.End()
		}
		if w.mesh != nil {
			w.mesh.Stop()
		}
	})
	return nil
}

func (r *rig) debianPath() string {
	if r.debian == "" {
		return ""
	}
	var out string
	for _, dir := range []string{"usr/sbin", "usr/bin", "usr/lib/postgresql/15/bin"} {
		out += filepath.Join(r.debian, dir) + ":"
	}
	return out
}

// clientsPath is where the programs of integration/clients are.
func (r *rig) clientsPath() string {
	if r.clients == "" {
		return ""
	}
	return filepath.Join(r.clients, "bin") + ":"
}

// condition adds [split] and [program:NAME]. In CI every program has to be there.
func (r *rig) condition(cond string) (bool, error) {
	if cond == "split" {
		return r.split, nil
	}
	if name, ok := strings.CutPrefix(cond, "program:"); ok {
		there := r.has(name)
		if !there && os.Getenv("CI") != "" {
			return false, fmt.Errorf("%s is missing, and in CI nothing may be left out", name)
		}
		return there, nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

func (r *rig) has(program string) bool {
	for dir := range strings.SplitSeq(r.clientsPath()+r.debianPath()+os.Getenv("PATH"), ":") {
		if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
			return true
		}
	}
	return false
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func (r *rig) commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"mesh":       r.mesh,
		"program":    r.program,
		"signal":     r.signal,
		"eventually": r.eventually,
		"run":        r.run,
		"count":      r.count,
		"rest":       r.rest,
		"guide":      r.guide,
	}
}

func check(ts *testscript.TestScript, err error) {
	if err != nil {
		ts.Fatalf("%v", err)
	}
}

// mesh up [-replicas N] [flags…] | kill NAME | stop NAME | start NAME | start | wipe: the control plane; start without a name
// starts whatever does not run, wipe stops it and loses store and authority. NAME is "up" or "policy-1"; in a
// mesh of one process every name means that process.
func (r *rig) mesh(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: mesh up|kill|stop|start …")
	}
	w := worldOf(ts)
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	if args[0] == "up" {
		check(ts, r.meshUp(ctx, ts, w, args[1:]))
		return
	}
	if len(args) == 1 && w.mesh != nil && (args[0] == "start" || args[0] == "wipe") {
		check(ts, map[string]func(context.Context) error{"start": w.mesh.UpAll, "wipe": w.mesh.Wipe}[args[0]](ctx))
		return
	}
	if len(args) != 2 || w.mesh == nil {
		ts.Fatalf("usage: mesh kill|stop|start NAME, after mesh up")
	}
	name := args[1]
	if !r.split {
		name = "up"
	}
	switch args[0] {
	case "kill":
		check(ts, w.mesh.End(name, syscall.SIGKILL))
	case "stop":
		check(ts, w.mesh.End(name, syscall.SIGTERM))
	case "start":
		check(ts, w.mesh.Up(ctx, name))
	default:
		ts.Fatalf("mesh %s: unknown", args[0])
	}
}

func (r *rig) meshUp(ctx context.Context, ts *testscript.TestScript, w *world, args []string) error {
	opts := harness.Options{Bin: r.bin, Dir: ts.Getenv("WORK") + "/.mesh", Split: r.split, Ports: r.ports}
	if len(args) > 1 && args[0] == "-replicas" {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		opts.Replicas, args = n, args[2:]
	}
	for _, a := range args {
		opts.Flags = append(opts.Flags, os.Expand(a, ts.Getenv))
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return err
	}
	m, err := harness.Start(ctx, opts)
	if err != nil {
		return err
	}
	w.mesh = m
	for _, kv := range m.Env() {
		name, value, _ := strings.Cut(kv, "=")
		ts.Setenv(name, value)
	}
	return nil
}

// program NAME CMD…: starts a program in the background; signal NAME SIG [and waits for its end]. Its output is in NAME.log.
func (r *rig) program(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: program NAME CMD…")
	}
	path, err := lookPath(ts, args[1])
	check(ts, err)
	p, err := harness.Command{
		Name: args[0], Log: ts.MkAbs(args[0] + ".log"), Env: environ(ts), Args: append([]string{path}, args[2:]...),
	}.Start()
	check(ts, err)
	worldOf(ts).programs[args[0]] = p
}

// signal SIG NAME: TERM and INT wait for the end; KILL ends everything that the program has started too.
func (r *rig) signal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: signal TERM|INT|KILL NAME")
	}
	p := worldOf(ts).programs[args[1]]
	if p == nil {
		ts.Fatalf("no program %q", args[1])
	}
	switch args[0] {
	case "KILL":
		harness.KillFamily(p.Pid())
	case "TERM":
		p.Signal(syscall.SIGTERM)
	case "INT":
		p.Signal(syscall.SIGINT)
	default:
		ts.Fatalf("signal %s: unknown", args[0])
	}
	if !p.Wait(40 * time.Second) {
		ts.Fatalf("%s does not end", args[1])
	}
}

// eventually PATTERN CMD…: repeats a command until its output (both streams) matches; ! eventually: until it does not.
func (r *rig) eventually(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: eventually PATTERN CMD…")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	check(ts, err)
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	err = harness.Eventually(ctx, func() error {
		out, err := output(ctx, ts, args[1:])
		if pattern.MatchString(out) == neg {
			return errors.Join(fmt.Errorf("%s\nwant match of %q to be %v", out, args[0], !neg), err)
		}
		return nil
	})
	check(ts, err)
}

// run CODE CMD…: runs a command and wants an exit code; its output goes to the file "out", for cmp and grep.
func (r *rig) run(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: run CODE CMD…")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	out, err := output(ctx, ts, args[1:])
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	ts.Logf("%s", out)
	check(ts, os.WriteFile(ts.MkAbs("out"), []byte(out), 0o600))
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// count PATTERN MIN MAX FILE: how often a pattern matches in a file.
func (r *rig) count(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: count PATTERN MIN MAX FILE")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	check(ts, err)
	low, err := strconv.Atoi(args[1])
	check(ts, err)
	high, err := strconv.Atoi(args[2])
	check(ts, err)
	n := len(pattern.FindAllString(ts.ReadFile(args[3]), -1))
	if n < low || n > high {
		ts.Fatalf("%q matches %d times in %s, want %d to %d", args[0], n, args[3], low, high)
	}
}

func output(ctx context.Context, ts *testscript.TestScript, args []string) (string, error) {
	path, err := lookPath(ts, args[0])
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args[1:]...)
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = environ(ts)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err = cmd.Run()
	return both.String(), err
}

// lookPath finds a program in the script's PATH rather than in the test's.
func lookPath(ts *testscript.TestScript, name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), ":") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not in the script's PATH", name)
}

// environ is the script's environment as programs see it.
func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{
		"PATH", "HOME", "TMPDIR", "WORK", "WEFT_BIN", "WEFT_GATEWAY", "WEFT_REST", "WEFT_DATA_DIR", "WEFT_PROXY", "WEFT_TOKEN_FILE", "WEFT_CA", "WEFT_CAPTURE", "WEFT_ETCD_ENDPOINTS", "DEBIAN",
	} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}
