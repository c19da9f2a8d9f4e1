package hosts

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/integration/hosts/lab"
)

// gated starts an instance of reviews whose program does not listen before the file `go` is there, and listens no more once
// the process in the file `pid` is killed, until the file `go` is there again. Its sidecar knows nothing of that.
func (r *rig) gated(h *lab.Host, name, version string, port int) {
	r.Helper()
	script := `while :; do
  until [ -e go ]; do sleep 0.05; done
  rm go
  weft-shop reviews --listen 127.0.0.1:` + strconv.Itoa(port) + ` --version ` + version + ` & echo $! > pid
  wait
done`
	r.run(h, lab.Workload{Name: name, Service: "reviews", Port: port, Labels: []string{"version=" + version}}, "sh", "-c", "cd '"+h.Dir+"' && "+script)
}

func (r *rig) open(h *lab.Host) {
	r.Helper()
	r.must(os.WriteFile(filepath.Join(h.Dir, "go"), nil, 0o600))
}

// answers waits until new programs on a host are answered by the wanted versions and no other.
func (r *rig) answers(h *lab.Host, versions ...string) {
	r.Helper()
	r.eventually(fmt.Sprintf("answers from %v", versions), func() error {
		seen, err := r.get(h, 20)
		for _, v := range versions {
			if err == nil && seen[v] == 0 {
				err = fmt.Errorf("answers were %v", seen)
			}
		}
		if err == nil && len(seen) != len(versions) {
			err = fmt.Errorf("answers were %v", seen)
		}
		return err
	})
}

// TestD3_OnlyReadyEndpoints: a program that does not accept connections yet is no endpoint; one that stops accepting them,
// although it runs on, is not used, and nobody who calls notices; one that accepts them again is used again.
func TestD3_OnlyReadyEndpoints(t *testing.T) {
	r := newRig(t, 3, false)
	a, b, c := r.hosts[0], r.hosts[1], r.hosts[2]
	r.up()
	r.reviews(b, "reviews-1", "v1", 9080)
	r.gated(c, "reviews-2", "v2", 9080)
	r.shows("reviews-1 .*ready", "services")
	r.shows("default/reviews-2 ", "status") // its sidecar is there
	l := r.load(a, "load")
	l.flows("v1")
	if out := r.weft(0, "services"); strings.Contains(out, "reviews-2") {
		t.Errorf("a program that does not accept connections is an endpoint:\n%s", out)
	}

	r.open(c)
	r.shows("reviews-2 .*ready", "services")
	l.flows("v1", "v2")

	pid, err := os.ReadFile(filepath.Join(c.Dir, "pid"))
	r.must(err)
	_, code, err := c.Output(t.Context(), "kill", strings.TrimSpace(string(pid)))
	r.must(err)
	if code != 0 {
		t.Fatalf("kill: exit code %d", code)
	}
	l.flows("v1")
	if now, err := l.now(); err != nil || failures(now) > 0 {
		t.Errorf("who called noticed: %+v (%v)", now, err)
	}
	r.open(c)
	l.flows("v1", "v2")
}

const service = `apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {name: reviews}
spec: {accounts: [reviews]}
`

// TestC6_OnlyWhatBacksAServiceIsReachable: a workload whose service does not exist is listed nowhere and reached by nobody,
// although it runs; once the service exists it is both, and neither it nor who calls it was started again.
func TestC6_OnlyWhatBacksAServiceIsReachable(t *testing.T) {
	r := newRig(t, 3, false)
	b, c := r.hosts[1], r.hosts[2]
	r.up()
	instance := r.reviews(b, "reviews-1", "v1", 9080)
	r.shows("reviews-1 .*ready", "services")
	r.weft(0, "delete", "service", "reviews", "--wait") // weft run has made it
	caller := r.run(c, lab.Workload{Name: "caller", Account: "caller", Upstreams: []string{"reviews"}},
		"sh", "-c", "while :; do weft-shop probe --url http://"+c.Address("reviews", 9080)+"/reviews/a; sleep 0.2; done")
	r.shows("default/reviews-1 +in sync", "status")
	r.logged(c, "caller", `^404 .*reason=no_route`)
	if out := r.weft(0, "services"); strings.Contains(out, "reviews") {
		t.Errorf("what backs no service is listed:\n%s", out)
	}
	if data, err := os.ReadFile(c.Log("caller")); err != nil || strings.Contains(string(data), "\n200 ") {
		t.Errorf("what backs no service was reached (%v):\n%s", err, data)
	}

	r.apply(0, service, "--wait")
	r.shows("default/reviews +"+b.IP()+":9080 .*reviews-1 .*ready", "services")
	r.logged(c, "caller", `^200`)
	for name, p := range map[string]interface{ Ended() bool }{"reviews-1": instance, "caller": caller} {
		if p.Ended() {
			t.Errorf("%s had to be started again", name)
		}
	}
}

// TestC8_ServiceWorkloadAndPolicyBecomeOneConfiguration: a service, workloads on other hosts, a route and an access policy,
// of three sources, become one configuration of the sidecars that they concern; what was applied where is shown.
func TestC8_ServiceWorkloadAndPolicyBecomeOneConfiguration(t *testing.T) {
	r := newRig(t, 3, false)
	b, c := r.hosts[1], r.hosts[2]
	r.up()
	r.reviews(b, "reviews-1", "v1", 9080)
	r.reviews(c, "reviews-2", "v2", 9080)
	r.shows("reviews-1 .*ready", "services")
	r.shows("reviews-2 .*ready", "services")
	call := func(account string) string {
		out, err := c.Call(t.Context(), lab.Workload{Account: account, Upstreams: []string{"reviews"}},
			"weft-shop", "probe", "--url", "http://"+c.Address("reviews", 9080)+"/reviews/a")
		r.must(err)
		return out
	}
	r.answers(c, "v1", "v2")
	out := r.apply(0, service+"---\n"+route("v1")+`---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: {name: callers}
spec:
  destination: {account: reviews}
  allow: [{from: [{account: client}]}]
`, "--wait")
	if !strings.Contains(out, "in force: applied by all") {
		t.Errorf("what came of it is not shown:\n%s", out)
	}
	r.answers(c, "v1")
	if got := call("stranger"); !strings.HasPrefix(got, "403 ") || !strings.Contains(got, "reason=denied") {
		t.Errorf("a stranger was answered %q", got)
	}
	// Every sidecar shows which state of each source it has applied; there is one that all are at.
	for _, w := range []string{"reviews-1", "reviews-2"} {
		r.shows(`default/`+w+` +in sync +.*policy@\d+`, "status")
	}
	r.shows(`^compiled: .*discovery@\d+.*policy@\d+|^compiled: .*policy@\d+.*discovery@\d+`, "status")
}
