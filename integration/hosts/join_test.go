package hosts

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/integration/hosts/lab"
	"github.com/weft-mesh/weft/internal/testca"
)

// mint makes a token for a host.
func (r *rig) mint(args ...string) string {
	r.Helper()
	return strings.TrimSpace(r.weft(0, append([]string{"token", "host"}, args...)...))
}

// on runs `weft` on a host and wants an exit code and some words.
func (r *rig) on(h *lab.Host, code int, says string, args ...string) {
	r.Helper()
	out, got, err := h.Weft(r.Context(), args...)
	r.must(err)
	if got != code || !strings.Contains(out, says) {
		r.Errorf("host %s: weft %s: exit code %d, want %d and %q in:\n%s", h.Name, strings.Join(args, " "), got, code, says, out)
	}
}

// TestID7_JoinedHostIsGoodForItsAccountsOnly: a host becomes one by a token that works once, holds nothing in files that others
// can read, starts workloads of its accounts and of no others, can look and change nothing, and can be sent away.
func TestID7_JoinedHostIsGoodForItsAccountsOnly(t *testing.T) {
	r := newRig(t, 3, false)
	a, b, c := r.hosts[0], r.hosts[1], r.hosts[2]
	_, err := a.Up(t.Context())
	r.must(err)
	// A host that has not joined says where the control plane is, and by what it knows it.
	ours := filepath.Join(a.Dir, "data")
	foreign := filepath.Join(c.Dir, "foreign.pem")
	root := testca.New(t, "weft.local").Root().Raw
	r.must(os.WriteFile(foreign, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root}), 0o600))
	for bundle, want := range map[string]int{filepath.Join(ours, "bundle.pem"): 0, foreign: 125} {
		r.on(c, want, map[int]string{125: "server's SVID"}[want], "run", "--control-plane", a.IP(), "--ca", bundle,
			"--token-file", filepath.Join(ours, "admin.token"), "--timeout", "3s", "--account", "web", "--", "true")
	}

	token := r.mint("--name", "b", "-n", "shop", "--accounts", "web,reviews", "--ttl", "1h")
	r.on(b, 0, "host b has joined weft.local: it may start workloads with the accounts web, reviews in shop", "join", token)
	r.on(b, 0, "has joined with this token already", "join", token)
	r.on(c, 6, "used already", "join", token)
	for name, mode := range map[string]os.FileMode{".": 0o700, "host.token": 0o600, "host.json": 0o600} {
		if info, err := os.Stat(filepath.Join(b.Dir, "data", name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v (%v), want %v", name, info.Mode().Perm(), err, mode)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "data", "host*")); len(left) > 0 {
		t.Errorf("a refused token left %q", left)
	}

	r.on(b, 0, "components", "check")
	r.on(b, 0, "identity", "status")
	r.on(b, 6, "host \"b\" is not good for Apply", "apply", "-f", r.file(b, route("v1")))
	r.on(b, 6, "CreateAdminToken", "token", "admin", "create", "mine")
	r.on(b, 125, `accounts "web", "reviews", not "bank"`, "run", "-n", "shop", "--service", "bank", "--port", "1", "--", "true")
	r.on(b, 125, `not in namespace "default"`, "run", "--account", "web", "--", "true")
	r.on(b, 0, "", "run", "-n", "shop", "--account", "web", "--", "true")
	if out := r.weft(0, "services", "-A"); strings.Contains(out, "bank") {
		t.Errorf("a refused workload left a service:\n%s", out)
	}

	// Joining again replaces the credential and gives the old one back; leaving gives back what is left.
	r.on(b, 0, "in shop", "join", r.mint("--name", "b", "-n", "shop"))
	if out := r.weft(0, "token", "admin", "list"); strings.Count(out, "host b") != 1 {
		t.Errorf("two credentials of one host:\n%s", out)
	}
	r.run(b, lab.Workload{Name: "reviews-1", Namespace: "shop", Service: "reviews", Port: 9080}, "weft-shop", "reviews", "--listen", "127.0.0.1:9080")
	r.shows("reviews-1 .*ready", "services", "-n", "shop")
	r.on(b, 0, "host b has left", "leave")
	r.on(b, 0, "has joined nothing", "leave")
	r.on(b, 7, "", "status", "--timeout", "2s")
	if out := r.weft(0, "token", "admin", "list"); strings.Contains(out, "host b") {
		t.Errorf("a host that left can still come:\n%s", out)
	}
	r.shows("shop/reviews-1 +in sync", "status") // what runs there goes on

	// An administrator takes a credential back; a foreign control plane is not believed, whatever answers at its address.
	r.on(c, 0, "has joined", "join", r.mint("--name", "c", "-n", "shop"))
	for _, line := range strings.Split(r.weft(0, "token", "admin", "list"), "\n") {
		if strings.Contains(line, "host c") {
			r.weft(0, "token", "admin", "delete", strings.Fields(line)[0])
		}
	}
	r.eventually("the credential of c is taken back", func() error {
		_, code, err := c.Weft(t.Context(), "status")
		if err == nil && code != 6 {
			return errNotYet
		}
		return err
	})
	others := r.mint("--name", "c", "-n", "shop")
	r.must(a.Reboot(t.Context()))
	r.must(os.RemoveAll(filepath.Join(a.Dir, "data")))
	_, err = a.Up(t.Context())
	r.must(err)
	r.on(c, 7, "not the control plane that minted the token", "join", others, "--timeout", "3s")
}
