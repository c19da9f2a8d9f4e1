package hosts

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/integration/hosts/lab"
)

// route sends all of reviews to one version.
func route(version string) string {
	return `apiVersion: weft.dev/v1alpha1
kind: Route
metadata: {name: reviews}
spec:
  service: reviews
  rules: [{backends: [{service: reviews, labels: {version: ` + version + `}}]}]
`
}

// TestC7_C16_HostCutOffAndHealed: a host vanishes from the network without a word. Those that are left go on, without its
// endpoints; its own programs go on among themselves. What changed meanwhile reaches it when it is back, and then nothing is
// left of the outage.
func TestC7_C16_HostCutOffAndHealed(t *testing.T) {
	r := newRig(t, 3, false)
	a, b, c := r.hosts[0], r.hosts[1], r.hosts[2]
	r.up()
	r.reviews(b, "reviews-b", "vb", 9080)
	r.reviews(c, "reviews-c", "vc", 9080)
	r.shows("reviews-b .*ready", "services")
	r.shows("reviews-c .*ready", "services")
	fromA, fromB, fromC := r.load(a, "load-a"), r.load(b, "load-b"), r.load(c, "load-c")
	for _, l := range []*load{fromA, fromB, fromC} {
		l.flows("vb", "vc")
		r.shows("default/"+l.name+" +in sync", "status")
	}

	r.must(c.Cut(t.Context()))
	// Nobody knows yet: the change waits for whoever was there, and says for whom.
	out := r.apply(8, route("vb"), "--wait", "--wait-timeout", "3s")
	if !strings.Contains(out, "behind: default/load-c") {
		t.Errorf("apply --wait does not name who has not applied it:\n%s", out)
	}
	fromA.flows("vb")
	fromB.flows("vb")
	fromC.flows("vc") // of what it knew, what it reaches
	r.shows("reviews-c .*unknown", "services")
	r.shows("default/load-c +away", "status")
	// Now it is known: nobody waits for a host that is away, and it is named.
	out = r.apply(0, strings.Replace(route("vb"), "rules: [{", "rules: [{timeout: 9s, ", 1), "--wait")
	if !strings.Contains(out, "away (registered, not connected): default/load-c") {
		t.Errorf("apply --wait does not name who is away:\n%s", out)
	}

	r.must(c.Heal(t.Context()))
	r.shows("reviews-c .*ready", "services")
	r.shows("default/load-c +in sync", "status")
	fromC.flows("vb")
	out = r.apply(0, route("vc"), "--wait")
	if !strings.Contains(out, "in force: applied by all") || strings.Contains(out, "away") {
		t.Errorf("not all is as before:\n%s", out)
	}
	for _, l := range []*load{fromA, fromB, fromC} {
		l.flows("vc")
	}
}

// TestC9_HostRebootsWithoutControlPlane: a host loses its power while the control plane is gone. Its programs start from
// their state directories, call others on other hosts and are called by them, and nobody waited for anybody.
func TestC9_HostRebootsWithoutControlPlane(t *testing.T) {
	for name, gone := range map[string]func(h *lab.Host) error{
		"killed":  func(h *lab.Host) error { return h.Reboot(t.Context()) },
		"cut off": func(h *lab.Host) error { return h.Cut(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 3, false)
			a, b, c := r.hosts[0], r.hosts[1], r.hosts[2]
			r.up()
			r.reviews(b, "reviews-b", "vb", 9080)
			r.reviews(c, "reviews-c", "vc", 9080)
			fromB, fromC := r.load(b, "load-b"), r.load(c, "load-c")
			fromB.flows("vb", "vc")
			fromC.flows("vb", "vc")

			r.must(gone(a))
			r.must(b.Reboot(t.Context()))
			fromC.flows("vc")
			began := time.Now()
			r.reviews(b, "reviews-b", "vb", 9080)
			fromB = r.load(b, "load-b")
			r.logged(b, "reviews-b", "starts from")
			r.logged(b, "load-b", "starts from")
			fromB.flows("vb", "vc")
			fromC.flows("vb", "vc")
			t.Logf("%s after the reboot everybody serves everybody", time.Since(began).Round(10*time.Millisecond))

			r.must(a.Heal(t.Context())) // of no consequence for one that was killed
			if name == "killed" {
				_, err := a.Up(t.Context())
				r.must(err)
			}
			r.shows("reviews-b .*ready", "services")
			for _, w := range []string{"reviews-b", "load-b", "reviews-c", "load-c"} {
				r.shows("default/"+w+" +in sync", "status")
			}
			out := r.apply(0, route("vb"), "--wait")
			if !strings.Contains(out, "in force: applied by all") {
				t.Errorf("the mesh does not converge again:\n%s", out)
			}
			fromB.flows("vb")
			fromC.flows("vb")
		})
	}
}

// TestD1_L4_CanaryAcrossHosts: programs find each other over hosts, and a canary takes effect on all of them at once; with
// the control plane in one process, and with one process for each service on three hosts and an etcd member on each.
func TestD1_L4_CanaryAcrossHosts(t *testing.T) {
	for name, start := range map[string]func(r *rig){
		"one process": func(r *rig) { r.up() },
		"spread": func(r *rig) {
			admin, err := lab.Spread(r.Context(), [3]*lab.Host(r.hosts))
			r.must(err)
			if admin != r.hosts[0] {
				r.Fatal("the administrator's token is not where the tests look for it")
			}
			r.join()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 3, false)
			start(r)
			a, b, c := r.hosts[0], r.hosts[1], r.hosts[2]
			r.reviews(b, "reviews-1", "v1", 9080)
			r.reviews(c, "reviews-2", "v2", 9080)
			for name, h := range map[string]*lab.Host{"reviews-1": b, "reviews-2": c} {
				r.shows("default/reviews +"+net.JoinHostPort(h.IP(), strconv.Itoa(9080))+" .*"+name+" .*ready", "services")
			}
			fromA, fromB, fromC := r.load(a, "load-a"), r.load(b, "load-b"), r.load(c, "load-c")
			all := []*load{fromA, fromB, fromC}
			for _, l := range all {
				l.flows("v1", "v2")
			}
			for _, version := range []string{"v1", "v2"} {
				if out := r.apply(0, route(version), "--wait"); !strings.Contains(out, "in force: applied by all 3 sidecars affected") {
					t.Fatalf("the canary is not in force:\n%s", out)
				}
				seen, err := r.get(b, 40)
				r.must(err)
				if seen[version] != 40 || len(seen) != 1 {
					t.Errorf("once everything went to %s, answers were %v", version, seen)
				}
				for _, l := range all {
					l.flows(version)
				}
			}
			for _, l := range all {
				if now, err := l.now(); err != nil || failures(now) > 0 {
					t.Errorf("%s saw failures: %+v (%v)", l.name, now, err)
				}
			}
			out, code, err := b.Weft(t.Context(), "check")
			r.must(err)
			if code != 0 || !strings.Contains(out, "sidecars") {
				t.Errorf("weft check on a joined host: exit code %d:\n%s", code, out)
			}
		})
	}
}
