package compare

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/integration/bench/load"
	"github.com/weft-mesh/weft/integration/bench/peers"
)

func samples(scenario, contender string, each ...float64) []sample {
	var out []sample
	for i, us := range each {
		out = append(out, sample{Scenario: scenario, Contender: contender, Round: i + 1, Each: us, Result: load.Result{Done: 10, Seconds: 1}})
	}
	return out
}

// A goal is met by the worst round, not by the middle one; the best of several is the one with the best median.
func TestVerdicts(t *testing.T) {
	r := &report{}
	r.Samples = append(r.Samples, samples("new-conn", peers.Weft, 90, 95, 80)...)
	r.Samples = append(r.Samples, samples("new-conn", peers.Nginx, 200, 200, 200)...)
	r.Samples = append(r.Samples, samples("new-conn", peers.HAProxy, 100, 100, 100)...)
	r.Samples = append(r.Samples, samples("new-conn", peers.NetHTTP, 10, 10, 10)...)
	r.Samples = append(r.Samples, samples("handshake", peers.Weft, 100, 110, 120)...)
	r.Samples = append(r.Samples, samples("handshake", peers.Envoy, 100, 100, 100)...)
	r.Samples = append(r.Samples, samples("handshake", peers.Nginx, 200, 200, 200)...)
	got := map[string]verdict{}
	for _, v := range r.verdicts() {
		got[v.Scenario] = v
	}
	v := got["new-conn"]
	if v.Than != peers.HAProxy || v.Ratio != (spread{.9, .8, .95}) || !v.met(1) || v.met(.9) {
		t.Errorf("new-conn: %+v", v)
	}
	// Handshakes for each CPU second: more is better, and the lowest counts.
	v = got["handshake"]
	if v.Than != peers.Envoy || v.Ratio.High != 1 || v.Ratio.Low >= .84 || !v.met(.8) || v.met(1) {
		t.Errorf("handshake: %+v", v)
	}
	if len(got) != 2 {
		t.Errorf("%d goals are judged, though two scenarios were measured", len(got))
	}
	r.Verdicts = r.verdicts()
	text := r.markdown()
	for _, want := range []string{
		"| new client connection for each request | CPU | the best: haproxy | **0.90** (0.80–0.95) | ≤ 1.00 | ≤ 0.90 | must met |",
		"| new client connection for each request | 90.0 (10) | 200 (10) | 100 (10) | – | 10.0 (10) |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no row %q in\n%s", want, text)
		}
	}
}

// The picture is well-formed and has a bar for every contender of every scenario.
func TestPlot(t *testing.T) {
	r := &report{}
	r.Samples = append(samples("new-conn", peers.Weft, 90, 95, 80), samples("new-conn", peers.Nginx, 100, 100, 100)...)
	r.Samples = append(r.Samples, samples("tcp-bulk", peers.Nginx, 1800)...)
	r.Samples = append(r.Samples, samples("tcp-bulk", peers.Envoy, 9000)...)
	picture := r.plot()
	texts := map[string]bool{}
	for d := xml.NewDecoder(strings.NewReader(picture)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, picture)
		}
		if text, ok := token.(xml.CharData); ok {
			texts[string(text)] = true
		}
	}
	for _, want := range []string{"TCP bulk, 4 connections", "new client connection for each request", "0.90 (90.0 µs)", "1.00 (1800 µs)", "5.00 (9000 µs)"} {
		if !texts[want] {
			t.Errorf("the picture has no %q", want)
		}
	}
	if (&report{Samples: samples("new-conn", peers.Weft, 1)}).plot() != "" {
		t.Error("a picture without nginx has nothing to compare with")
	}
}

func TestFill(t *testing.T) {
	doc := filepath.Join(t.TempDir(), "doc.md")
	for i, text := range []string{"first", "second"} {
		if i == 0 {
			if err := os.WriteFile(doc, []byte("before\n<!-- tables: made by x -->\nold\n<!-- end of tables -->\nafter\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := fill(doc, text); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(doc)
		if want := "before\n<!-- tables: made by x -->\n\n" + text + "\n<!-- end of tables -->\nafter\n"; err != nil || string(got) != want {
			t.Errorf("document is %q, %v, want %q", got, err, want)
		}
	}
	if err := os.WriteFile(doc, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fill(doc, "x"); err == nil {
		t.Error("a document without a place for tables was filled")
	}
}

// Every goal is about a scenario that is measured.
func TestGoalsHaveScenarios(t *testing.T) {
	for _, g := range goals() {
		if title(g.Scenario) == g.Scenario {
			t.Errorf("goal %+v is about no scenario", g)
		}
		if (g.Aim > g.Must) != g.higher() {
			t.Errorf("goal %+v: the aim is easier than the must", g)
		}
	}
}

func TestChoose(t *testing.T) {
	chosen, memory, calls, err := choose("tcp-bulk,h1-1k-16,memory")
	if err != nil || len(chosen) != 2 || !memory || calls {
		t.Errorf("choose: %v, %v, %v, %v", chosen, memory, calls, err)
	}
	if _, _, _, err := choose("h1"); err == nil || !strings.Contains(err.Error(), "h1-1k-16") {
		t.Errorf("an unknown scenario: %v", err)
	}
}

func TestReadTracers(t *testing.T) {
	for name, c := range map[string]struct {
		read func(string) (map[string]float64, error)
		text string
		all  float64
	}{
		"perf": {readPerf, "# started on Wed\n\n30,,raw_syscalls:sys_enter,100,100.00,,\n10,,syscalls:sys_enter_read,100,100.00,,\n<not counted>,,syscalls:sys_enter_futex,0,100.00,,\n", 30},
		"strace": {readStrace, `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 90.00    0.010000         100        10         2 read
 10.00    0.000000           0         0           futex
------ ----------- ----------- --------- --------- ----------------
100.00    0.010000                    30         2 total
`, 10},
	} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := c.read(file)
		if err != nil || got["read"] != 10 || got["futex"] != 0 || got[allCalls] != c.all {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
