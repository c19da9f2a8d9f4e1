package hosts

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/integration/hosts/lab"
)

// held is what a load of `echo hold` has counted.
type held struct {
	OK     int    `json:"ok"`
	Failed int    `json:"failed"`
	First  string `json:"first"`
}

// held reads the newest line of a load.
func (r *rig) held(h *lab.Host, name string) (c held, err error) {
	lines := strings.Split(r.read(h, name), "\n")
	for i := len(lines) - 2; i >= 0; i-- { // the last one may be half a line
		if strings.HasPrefix(lines[i], `{"ok"`) {
			return c, json.Unmarshal([]byte(lines[i]), &c)
		}
	}
	return c, fmt.Errorf("%s has counted nothing yet", name)
}

// TestUpgradesOfCapturedProgramsLoseNothing: the sidecars of both hosts are upgraded under load, while the listeners that
// traffic is redirected to are in the programs' own network namespaces. Connections that last go on.
func TestUpgradesOfCapturedProgramsLoseNothing(t *testing.T) {
	r := capturedRig(t, 3, false)
	r.up()
	b, c := r.hosts[1], r.hosts[2]
	loads := map[string]string{"http": "http", "grpc": "grpc", "stream": "grpc", "tcp": "tcp", "udp": "udp"}
	for protocol := range protocols() {
		r.serve(c, protocol)
	}
	for load, protocol := range loads {
		r.run(b, lab.Workload{Name: "load-" + load, Account: "client"},
			"weft-echo", "hold", load, fmt.Sprintf("echo-%s:%d", protocol, protocols()[protocol]), "x")
	}
	more := func() {
		t.Helper()
		for load := range loads {
			from, _ := r.held(b, "load-"+load)
			r.eventually("answers to "+load, func() error {
				now, err := r.held(b, "load-"+load)
				if err == nil && now.OK < from.OK+20 {
					err = fmt.Errorf("%+v, before it was %+v", now, from)
				}
				return err
			})
		}
	}
	more()
	for range 3 {
		for _, h := range []*lab.Host{b, c} {
			out, code, err := h.Output(t.Context(), "weft", "sidecar", "upgrade")
			r.must(err)
			if want := map[*lab.Host]int{b: len(loads), c: len(protocols())}[h]; code != 0 || strings.Count(out, "upgraded to process") != want {
				t.Fatalf("host %s: exit code %d, want %d upgrades:\n%s", h.Name, code, want, out)
			}
			more()
		}
	}
	out, code, err := b.Output(t.Context(), "weft", "sidecar", "upgrade", "--binary", "/bin/false")
	r.must(err)
	if code != 1 || strings.Count(out, "not upgraded") != len(loads) {
		t.Errorf("to a program that is no sidecar: exit code %d\n%s", code, out)
	}
	more()
	for load := range loads {
		if now, err := r.held(b, "load-"+load); err != nil || now.Failed != 0 {
			t.Errorf("%s: %+v, %v", load, now, err)
		} else {
			t.Logf("%s: %d answers, none lost", load, now.OK)
		}
	}
}
