package hosts

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/integration/harness"
	"github.com/weft-mesh/weft/integration/hosts/lab"
)

// systemd plays the part of systemd on a host: it starts what a unit says, in the environment of its files.
func (r *rig) systemd(h *lab.Host, unit, instance, credentials string, env ...string) *harness.Process {
	r.Helper()
	file := filepath.Join("..", "..", "deployments", "systemd", unit)
	command, err := harness.UnitHost{
		Bin: os.Getenv("WEFT_BIN"), State: filepath.Join(h.Dir, "lib"), Run: filepath.Join(h.Dir, "run"), Credentials: credentials, Instance: instance, Env: env,
	}.Command(file)
	r.must(err)
	p, err := h.Start(strings.TrimSuffix(unit, ".service")+instance, append(append([]string{"env", "-u", "WEFT_DATA_DIR", "-u", "WEFT_RUN_DIR"}, env...), command...)...)
	r.must(err)
	return p
}

// The command lines of the units run a mesh: the services one by one against an etcd, and a program of a host that has joined.
func TestUnitsRunAMesh(t *testing.T) {
	r := newRig(t, 2, false)
	a, b := r.hosts[0], r.hosts[1]
	_, err := a.Start("etcd", "etcd", "--data-dir", filepath.Join(a.Dir, "etcd"), "--log-level", "error")
	r.must(err)
	env := []string{"WEFT_LISTEN=0.0.0.0", "WEFT_ADVERTISE=" + a.IP(), "WEFT_ETCD_ENDPOINTS=127.0.0.1:2379"}
	ports := map[string]string{"identity": "9712", "discovery": "9711", "policy": "9713", "telemetry": "9714", "distributor": "9715", "gateway": "9701"}
	for s, port := range ports {
		env = append(env, "WEFT_"+strings.ToUpper(s)+"_ADDRESS="+net.JoinHostPort(a.IP(), port))
	}
	r.systemd(a, "weft-identity.service", "", "", env...)
	own := []string{"--data-dir", filepath.Join(a.Dir, "lib", "weft-identity")}
	ready := func(s string) {
		r.Helper()
		r.eventually(s+" is ready", func() error {
			_, err := a.Curl(t.Context(), "http://127.0.0.1:98"+ports[s][2:]+"/readyz")
			return err
		})
	}
	ready("identity")
	for _, s := range []string{"discovery", "policy", "telemetry", "distributor", "gateway"} {
		token := r.weft(0, append([]string{"token", "join", "-n", "weft-system", "--account", s, "--identity", net.JoinHostPort(a.IP(), "9712")}, own...)...)
		credentials := filepath.Join(a.Dir, "credentials-"+s)
		r.must(os.Mkdir(credentials, 0o700))
		r.must(os.WriteFile(filepath.Join(credentials, "join-token"), []byte(token), 0o600))
		r.systemd(a, "weft-"+s+".service", "", credentials, env...)
	}
	for s := range ports {
		ready(s)
	}
	r.on(b, 0, "host b has joined", "join", r.mint(append([]string{"--name", "b", "-n", "shop"}, own...)...))
	program := r.systemd(b, "weft-run@.service", "reviews", filepath.Join(b.Dir, "data"),
		"RUN_FLAGS=--namespace shop --service reviews --port 9080 --label version=v1", "COMMAND=weft-shop reviews --listen 127.0.0.1:9080")
	r.shows("shop/reviews +"+b.IP()+":9080 .* reviews +v1 +ready", append([]string{"services", "-n", "shop"}, own...)...)
	program.End()
	r.shows("shop/reviews +<none>", append([]string{"services", "-n", "shop"}, own...)...)
}
