package hosts

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/integration/harness"
	"github.com/weft-mesh/weft/integration/hosts/lab"
)

var (
	capture  = flag.String("capture", "explicit", "how programs reach their upstreams: explicit or transparent")
	networks atomic.Int64
)

// TestMain says what is left out where it cannot run, instead of failing or of keeping silent.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Geteuid() != 0 {
		fmt.Println("NOT RUN: tests on several hosts (integration/hosts): they make network namespaces, which needs root")
		os.Exit(0)
	}
	if *capture != "explicit" && *capture != "transparent" {
		fmt.Printf("-capture=%s: allowed are explicit and transparent\n", *capture)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// rig is a network with hosts for one test. Everything of it goes with the test.
type rig struct {
	*testing.T
	net   *lab.Network
	hosts []*lab.Host
}

// newRig makes hosts named a, b, c …
func newRig(t *testing.T, hosts int, ipv6 bool) *rig {
	t.Helper()
	bin := os.Getenv("WEFT_BIN")
	if bin == "" {
		t.Fatal("WEFT_BIN is not set: run `make e2e`")
	}
	dir, err := os.MkdirTemp("", "wh")
	if err != nil {
		t.Fatal(err)
	}
	net, err := lab.New(t.Context(), lab.Options{
		Bin: bin, Debian: os.Getenv("WEFT_DEBIAN"), Dir: dir, IPv6: ipv6, Transparent: *capture == "transparent",
	}, &networks)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{T: t, net: net}
	t.Cleanup(func() {
		if t.Failed() {
			for _, h := range r.hosts {
				t.Log(h.Logs())
			}
		}
		if err := net.Close(); err != nil {
			t.Error(err)
		}
		os.RemoveAll(dir)
	})
	for i := range hosts {
		h, err := net.Host(t.Context(), string(rune('a'+i)))
		r.must(err)
		r.hosts = append(r.hosts, h)
	}
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// up starts a control plane on the first host and lets the others join it.
func (r *rig) up(flags ...string) {
	r.Helper()
	_, err := r.hosts[0].Up(r.Context(), flags...)
	r.must(err)
	r.join()
}

func (r *rig) join() {
	r.Helper()
	for _, h := range r.hosts[1:] {
		_, err := h.Join(r.Context(), r.hosts[0], "default")
		r.must(err)
	}
}

// run starts a program in the mesh.
func (r *rig) run(h *lab.Host, w lab.Workload, command ...string) *harness.Process {
	r.Helper()
	p, err := h.Run(w, command...)
	r.must(err)
	return p
}

// reviews starts an instance of reviews that says its version.
func (r *rig) reviews(h *lab.Host, name, version string, port int) *harness.Process {
	r.Helper()
	return r.run(h, lab.Workload{Name: name, Service: "reviews", Port: port, Labels: []string{"version=" + version}},
		"weft-shop", "reviews", "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--version", version)
}

// get asks reviews from a host, n times, as a new program in the mesh, and counts the versions that answered.
func (r *rig) get(h *lab.Host, n int) (map[string]int, error) {
	r.Helper()
	out, err := h.Call(r.Context(), lab.Workload{Account: "client", Upstreams: []string{"reviews"}},
		"curl", "-fsS", "--max-time", "20", fmt.Sprintf("http://%s/reviews/[1-%d]", h.Address("reviews", 9080), n))
	seen := map[string]int{}
	for _, m := range regexp.MustCompile(`"version":"(\w+)"`).FindAllStringSubmatch(out, -1) {
		seen[m[1]]++
	}
	return seen, err
}

// weft runs `weft` on the control plane's host and wants an exit code.
func (r *rig) weft(want int, args ...string) string {
	r.Helper()
	out, code, err := r.hosts[0].Weft(r.Context(), args...)
	r.must(err)
	if code != want {
		r.Fatalf("weft %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, want, out)
	}
	return out
}

// apply writes a manifest and waits until it is in force.
func (r *rig) apply(want int, manifest string, flags ...string) string {
	r.Helper()
	return r.weft(want, append([]string{"apply", "-f", r.file(r.hosts[0], manifest)}, flags...)...)
}

// file is a manifest on a host.
func (r *rig) file(h *lab.Host, manifest string) string {
	r.Helper()
	file := filepath.Join(h.Dir, "manifest.yaml")
	r.must(os.WriteFile(file, []byte(manifest), 0o600))
	return file
}

var errNotYet = errors.New("not yet")

// eventually repeats a check.
func (r *rig) eventually(what string, check func() error) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Minute)
	defer cancel()
	began := time.Now()
	if err := harness.Eventually(ctx, check); err != nil {
		r.Fatalf("%s: %v", what, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		r.Logf("%s: true after %s", what, took.Round(100*time.Millisecond))
	}
}

// shows waits until what `weft` prints matches a pattern.
func (r *rig) shows(pattern string, args ...string) {
	r.Helper()
	p := regexp.MustCompile("(?m)" + pattern)
	r.eventually("weft "+strings.Join(args, " "), func() error {
		out, _, err := r.hosts[0].Weft(r.Context(), args...)
		if err == nil && !p.MatchString(out) {
			err = fmt.Errorf("want a match of %q in\n%s", pattern, out)
		}
		return err
	})
}

// logged waits until a program's output matches a pattern.
func (r *rig) logged(h *lab.Host, name, pattern string) {
	r.Helper()
	p := regexp.MustCompile("(?m)" + pattern)
	r.eventually("log of "+name, func() error {
		data, err := os.ReadFile(h.Log(name))
		if err == nil && !p.Match(data) {
			err = fmt.Errorf("want a match of %q in\n%s", pattern, data[max(0, len(data)-2000):])
		}
		return err
	})
}

// families runs a test with IPv4 and with IPv6 hosts.
func families(t *testing.T, test func(t *testing.T, ipv6 bool)) {
	t.Helper()
	t.Run("IPv4", func(t *testing.T) { test(t, false) })
	t.Run("IPv6", func(t *testing.T) { test(t, true) })
}

// find says in which streams some bytes are.
func find(streams []lab.Stream, marker string) []string {
	var out []string
	for _, s := range streams {
		if bytes.Contains(s.Data, []byte(marker)) {
			out = append(out, s.String())
		}
	}
	return out
}
