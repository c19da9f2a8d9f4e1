package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/proxy"
	"github.com/weft-mesh/weft/proxy/internal/limit"
)

func environment(pairs map[string]string) lookup {
	return func(key string) (string, bool) {
		v, ok := pairs[key]
		return v, ok
	}
}

func TestFlagsWinOverEnvironmentWinsOverDefaults(t *testing.T) {
	env := environment(map[string]string{
		"WEFT_NAMESPACE": "shop", "WEFT_WORKLOAD": "ignored", "WEFT_MESH_PORT": "15008", "WEFT_SERVICE": "a,b",
		"WEFT_IDENTITY": "10.0.0.1:9712,10.0.0.2:9712", "WEFT_ACCESS_LOG": "true", "WEFT_JOIN_TOKEN": "secret",
		"WEFT_LIMIT_HEAD_TIME": "3s", "WEFT_LIMIT_CONNS": "7",
	})
	var out bytes.Buffer
	o, err := parse([]string{"--workload", "web-1", "--label", "version=v2", "--upstream", "reviews:80=7000", "--upstream", "ops/db", "--limit-conns", "8"}, env, &out)
	if err != nil {
		t.Fatal(err)
	}
	c := o.config
	if c.Namespace != "shop" || c.Workload != "web-1" || c.MeshPort != 15008 || c.JoinToken != "secret" || c.AccessLog != &out || c.Advertise != "127.0.0.1" {
		t.Errorf("config: %+v", c)
	}
	limits := limit.Default()
	limits.HeadTime, limits.Conns = 3*time.Second, 8
	for name, pair := range map[string][2]any{
		"limits":    {limits, c.Limits},
		"services":  {[]string{"a", "b"}, c.Services},
		"identity":  {[]string{"10.0.0.1:9712", "10.0.0.2:9712"}, c.Addresses.Identity},
		"labels":    {map[string]string{"version": "v2"}, c.Labels},
		"upstreams": {[]proxy.Upstream{{Namespace: "shop", Name: "reviews", Port: 80, LocalPort: 7000}, {Namespace: "ops", Name: "db"}}, c.Upstreams},
	} {
		if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("weft1.x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := parse([]string{"--workload", "w", "--join-token-file", file}, environment(nil), nil)
	if err != nil || o.config.JoinToken != "weft1.x" {
		t.Errorf("want the token, got %q, %v", o.config.JoinToken, err)
	}
}

func TestExitCodes(t *testing.T) {
	state := t.TempDir()
	tests := []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"help", []string{"--help"}, exitOK, "--upstream"},
		{"version", []string{"--version"}, exitOK, ""},
		{"check", []string{"--check-config", "--workload", "w"}, exitOK, "ok"},
		{"unknown flag", []string{"--frobnicate"}, exitUsage, "frobnicate"},
		{"argument", []string{"--workload", "w", "x"}, exitUsage, `"x"`},
		{"label", []string{"--workload", "w", "--label", "x"}, exitUsage, "k=v"},
		{"no workload", nil, exitUsage, "workload"},
		{"limit", []string{"--check-config", "--workload", "w", "--limit-head-bytes", "1"}, exitUsage, "limit-head-bytes: 1 is not"},
		{"log level", []string{"--workload", "w", "--log-level", "loud"}, exitUsage, "loud"},
		{"no identity", []string{"--workload", "w", "--state-dir", state}, exitError, "weft token join"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("WEFT_JOIN_TOKEN", "")
			var stdout, stderr bytes.Buffer
			if code := run(tt.args, &stdout, &stderr); code != tt.code {
				t.Errorf("code: want %d, got %d", tt.code, code)
			}
			if all := stdout.String() + stderr.String(); !strings.Contains(all, tt.out) {
				t.Errorf("want %q in: %s", tt.out, all)
			}
		})
	}
}

func TestLimitsOfTheTightestGroupCount(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	root := fstest.MapFS{
		"proc/self/cgroup":                   file("0::/pod/app\n"),
		"sys/fs/cgroup/pod/cpu.max":          file("50000 100000\n"),
		"sys/fs/cgroup/pod/memory.max":       file("max\n"),
		"sys/fs/cgroup/pod/app/cpu.max":      file("max 100000\n"),
		"sys/fs/cgroup/pod/app/memory.max":   file("134217728\n"),
		"sys/fs/cgroup/elsewhere/memory.max": file("1\n"),
	}
	if got, want := readLimits(root), (limits{cpus: 0.5, memory: 128 << 20}); got != want {
		t.Errorf("want %+v, got %+v", want, got)
	}
	if got := readLimits(fstest.MapFS{}); got != (limits{}) {
		t.Errorf("without a cgroup: %+v", got)
	}
}
