package scripts

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weft-mesh/weft/integration/harness"
)

// step is one block of commands of a guide, with what it prints.
type step struct {
	line     int
	commands string
	// output is nil when the guide does not say.
	output *string
}

// steps takes the fenced blocks out of a guide: "shell" is run, "output" belongs to the block before it. Others are refused,
// so that no block stays out of the test because of a slip.
func steps(guide string) ([]step, error) {
	var out []step
	fence, from := "", 0
	var body strings.Builder
	for i, line := range strings.Split(guide, "\n") {
		language, isFence := strings.CutPrefix(line, "```")
		switch {
		case !isFence && fence != "":
			body.WriteString(line + "\n")
		case !isFence:
		case fence == "":
			fence, from = language, i+1
			body.Reset()
			if fence != "shell" && (fence != "output" || len(out) == 0 || out[len(out)-1].output != nil) {
				return nil, fmt.Errorf("line %d: a block is either shell, or the output of the one before it; this is %q", i+1, fence)
			}
		case fence == "shell":
			out, fence = append(out, step{line: from, commands: body.String()}), ""
		default:
			text := body.String()
			out[len(out)-1].output, fence = &text, ""
		}
	}
	if fence != "" || len(out) == 0 {
		return nil, fmt.Errorf("line %d: %d blocks; the last one must end", from, len(out))
	}
	return out, nil
}

// matches compares what was printed with what the guide says: white space does not count, "…" stands for anything.
func matches(want, got string) bool {
	var parts []string
	for part := range strings.SplitSeq(dense(want), "…") {
		parts = append(parts, regexp.QuoteMeta(part))
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(parts, ".*") + `$`).MatchString(dense(got))
}

func dense(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, text)
}

// guide FILE: runs the blocks of a guide in one shell, in order, and compares what each prints.
func (r *rig) guide(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: guide FILE")
	}
	blocks, err := steps(ts.ReadFile(args[0]))
	check(ts, err)
	dir := ts.MkAbs("guide")
	check(ts, os.MkdirAll(dir, 0o700))
	// What each block has printed tells more than how the shell ended, so that is looked at first.
	ended := r.runGuide(ts, dir, blocks)
	for i, block := range blocks {
		got, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.out", i)))
		if err != nil {
			ts.Fatalf("%s:%d: was not reached: the block before it failed; %v", args[0], block.line, ended)
		}
		ts.Logf("%s:%d:\n%s%s", args[0], block.line, block.commands, got)
		if block.output != nil && !matches(*block.output, string(got)) {
			ts.Fatalf("%s:%d: prints\n%s\nand the guide says\n%s", args[0], block.line, got, *block.output)
		}
	}
	check(ts, ended)
	if _, err := os.Stat(filepath.Join(dir, "done")); err != nil {
		ts.Fatalf("%s:%d: the last block fails", args[0], blocks[len(blocks)-1].line)
	}
}

// runGuide writes what each block prints to a file of its own; there is one for every block that was begun, and "done" when
// the last one has ended well.
func (r *rig) runGuide(ts *testscript.TestScript, dir string, blocks []step) error {
	var script bytes.Buffer
	fmt.Fprint(&script, "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n")
	for i, block := range blocks {
		fmt.Fprintf(&script, "{\n%s} >$WORK/guide/%d.out 2>&1\n", block.commands, i)
	}
	fmt.Fprint(&script, "touch $WORK/guide/done\n")
	file := filepath.Join(dir, "guide.sh")
	if err := os.WriteFile(file, script.Bytes(), 0o600); err != nil {
		return err
	}
	bash, err := lookPath(ts, "bash")
	if err != nil {
		return err
	}
	env := environ(ts)
	for i := range 8 {
		name := fmt.Sprintf("PORT%d", i+1)
		env = append(env, name+"="+ts.Getenv(name))
	}
	process, err := harness.Command{
		Name: "guide", Log: filepath.Join(dir, "log"), Dir: dir, Env: env, Args: []string{bash, file},
	}.Start()
	if err != nil {
		return err
	}
	defer process.End()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return process.Join(ctx)
}

func TestSteps(t *testing.T) {
	got, err := steps("# A\n\n```shell\na\nb\n```\nthen\n```output\nc\n```\n```shell\nd\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].line != 3 || got[0].commands != "a\nb\n" || *got[0].output != "c\n" || got[1].output != nil {
		t.Errorf("blocks are %+v", got)
	}
	for _, bad := range []string{
		"no block", "```shell\na", "```bash\na\n```\n", "```\na\n```\n", "```output\na\n```\n", "```shell\na\n```\n```output\n```\n```output\n```\n",
	} {
		if got, err := steps(bad); err == nil {
			t.Errorf("%q was taken for %+v", bad, got)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		want, got string
		ok        bool
	}{
		{"{\n  \"a\": 1\n}\n", `{"a":1}`, true},
		{`{"a": … , "b": 2}`, `{"a":{"x":[1]},"b":2}`, true},
		{`{"a": … , "b": 2}`, `{"a":1,"b":2,"c":3}`, false},
		{"200\n", "401\n", false},
		{"a.c", "abc", false},
		{"", "noise", false},
	} {
		if matches(c.want, c.got) != c.ok {
			t.Errorf("whether %q matches %q is %v, want %v", c.got, c.want, !c.ok, c.ok)
		}
	}
}
