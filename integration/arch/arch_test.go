// Package arch_test holds the structure of the repository to what CONTRIBUTING says: who may import whom, and what binaries
// may link. It shells out to `go list`, whose result the test cache does not know of: run it with -count=1.
package arch_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/weft-mesh/weft/"

type pkg struct {
	ImportPath   string
	Doc          string
	Dir          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// short is the import path inside the repository.
func (p pkg) short() string { return strings.TrimPrefix(p.ImportPath, module) }

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Doc,Dir,GoFiles,Imports,TestImports,XTestImports"}, args...)...)
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list %v: %s", args, exit.Stderr)
		}
		t.Fatalf("go list %v: %s", args, err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// rule refuses imports of packages that begin with any of banned to the packages that begin with any of from, unless they
// begin with any of except.
type rule struct {
	from   []string
	except []string
	banned []string
	why    string
}

func rules() []rule {
	six := []string{"services/discovery", "services/identity", "services/policy", "services/telemetry", "services/distributor", "services/gateway"}
	stages := []string{"authz", "route", "balance", "limit", "health", "pool", "detect", "identity", "h1", "h2", "forward", "listener", "egress"}
	out := []rule{
		{from: []string{"internal/"}, banned: []string{module + "gen", module + "services", module + "proxy"}, why: "internal is a leaf: both halves may use it, it knows neither"},
		{from: []string{"proxy"}, banned: []string{module + "services", "go.etcd.io", "k8s.io", "github.com/spf13/cobra", "github.com/knadh/koanf"}, why: "the sidecar stays small and knows nothing of how the control plane works"},
		{from: []string{"services"}, banned: []string{module + "proxy"}, why: "the control plane talks to sidecars over its APIs only"},
		{from: []string{"gen"}, banned: []string{module + "services", module + "proxy", module + "internal"}, why: "generated code can be imported by anybody"},
		{from: []string{"services/internal/model"}, banned: []string{module + "gen", "go.uber.org/zap", "google.golang.org"}, why: "the model is pure"},
		{from: []string{"services/distributor/compile"}, banned: []string{module + "gen", "go.uber.org/zap", "google.golang.org", "time/tzdata", "net/http", "os"}, why: "compile is pure: same input, same output"},
		{from: []string{"services"}, except: []string{"services/internal/kv/etcdkv", "services/internal/kv/embedkv"}, banned: []string{"go.etcd.io"}, why: "only the stores know etcd"},
		{from: []string{"services"}, except: []string{"services/app", "services/cmd", "services/cli"}, banned: []string{module + "services/internal/kv/embedkv"}, why: "only a process decides which store it opens"},
		{from: []string{"proxy/internal/flow", "proxy/internal/table", "proxy/internal/route", "proxy/internal/authz", "proxy/internal/balance"}, banned: []string{module + "gen", "go.uber.org/zap", "net/http", "google.golang.org"}, why: "stages are pure of wire formats and logs"},
	}
	for _, a := range six {
		var others []string
		for _, b := range six {
			if a != b {
				others = append(others, module+b)
			}
		}
		out = append(out, rule{from: []string{a}, banned: others, why: "services meet over their APIs, never in code"})
	}
	for _, a := range []string{"authz", "route", "limit", "health", "detect", "table", "flow"} {
		var others []string
		for _, b := range stages {
			if a != b {
				others = append(others, module+"proxy/internal/"+b)
			}
		}
		out = append(out, rule{from: []string{"proxy/internal/" + a}, banned: others, why: "stages do not know each other: inbound and outbound assemble them"})
	}
	return out
}

func below(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool {
		return path == p || strings.HasPrefix(path, strings.TrimSuffix(p, "/")+"/")
	})
}

func TestWhoMayImportWhom(t *testing.T) {
	pkgs := list(t, "work")
	if len(pkgs) < 20 {
		t.Fatalf("go list found only %d packages", len(pkgs))
	}
	for _, r := range rules() {
		for _, p := range pkgs {
			if !below(p.short(), r.from) || below(p.short(), r.except) {
				continue
			}
			for _, imp := range p.Imports {
				if below(imp, r.banned) {
					t.Errorf("%s imports %s: %s", p.short(), imp, r.why)
				}
			}
		}
	}
}

func TestOnlyBuildFilesMentionEnv(t *testing.T) {
	for _, p := range list(t, "work") {
		if !below(p.short(), []string{"services"}) || below(p.short(), []string{"services/app", "services/cmd"}) {
			continue
		}
		for _, f := range p.GoFiles {
			data, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			if f != "build.go" && bytes.Contains(data, []byte("*app.Env")) {
				t.Errorf("%s/%s takes app.Env: only build.go may, everything else takes typed dependencies", p.short(), f)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range list(t, "work") {
		if p.Doc == "" && len(p.GoFiles) > 0 && !below(p.short(), []string{"gen"}) {
			t.Errorf("%s has no package comment", p.short())
		}
	}
}

// links are the packages that must not be in a binary.
func TestWhatBinariesLink(t *testing.T) {
	for binary, banned := range map[string][]string{
		"./proxy/cmd/weft-proxy":     {"k8s.io", "go.etcd.io", module + "services", "github.com/grpc-ecosystem"},
		"./services/cmd/weft-policy": {module + "proxy", "k8s.io/client-go"},
	} {
		cmd := exec.Command("go", "list", "-deps", binary)
		cmd.Dir = filepath.Join("..", "..")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list -deps %s: %s", binary, err)
		}
		n := 0
		for scan := bufio.NewScanner(bytes.NewReader(out)); scan.Scan(); n++ {
			if below(scan.Text(), banned) {
				t.Errorf("%s links %s", binary, scan.Text())
			}
		}
		if n < 100 {
			t.Errorf("go list -deps %s found only %d packages", binary, n)
		}
	}
}

// The replace directives are exactly those that a module needs to be tidied on its own.
func TestReplaceDirectives(t *testing.T) {
	want := map[string][]string{
		"gen": nil, "internal": nil,
		"services":    {"gen", "internal"},
		"proxy":       {"gen", "internal"},
		"integration": {"gen", "internal", "proxy", "services"},
	}
	for mod, names := range want {
		data, err := os.ReadFile(filepath.Join("..", "..", mod, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(string(data)) {
			line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "replace "))
			if old, _, ok := strings.Cut(line, " => "); ok {
				got = append(got, strings.TrimPrefix(old, module))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, names) {
			t.Errorf("%s/go.mod replaces %q, want %q", mod, got, names)
		}
		if !bytes.Contains(data, []byte("\ngo 1.26.0\n")) {
			t.Errorf("%s/go.mod does not say go 1.26.0", mod)
		}
	}
}

// Small files: one idea each.
func TestFileLength(t *testing.T) {
	for _, p := range list(t, "work") {
		if below(p.short(), []string{"gen"}) {
			continue
		}
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			limit := 600
			if strings.HasSuffix(f, "_test.go") {
				limit = 1000
			}
			if n := bytes.Count(data, []byte("\n")); n > limit {
				t.Errorf("%s has %d lines, at most %d", f, n, limit)
			}
		}
	}
}
