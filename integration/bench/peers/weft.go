package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/weft-mesh/weft/integration/bench/app"
	"github.com/weft-mesh/weft/integration/bench/load"
	"github.com/weft-mesh/weft/integration/harness"
)

// sample is how many requests go without a line in the access log for each that has one.
const sample = 100

// startup bounds what is waited for at the start.
const startup = 30 * time.Second

// group keeps Go's key exchange to X25519, as the peers have it, instead of the hybrid that is its default.
const group = "GODEBUG=tlsmlkem=0"

// manifest is what people write for the three services: each may be called by one account only, which is checked for every request.
const manifest = `apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {name: http}
spec: {accounts: [http], ports: [{name: http, port: 80, protocol: http}]}
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {name: grpc}
spec: {accounts: [grpc], ports: [{name: grpc, port: 80, protocol: grpc}]}
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {name: tcp}
spec: {accounts: [tcp], ports: [{name: tcp, port: 80, protocol: tcp}]}
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: {name: http-callers}
spec:
  destination: {account: http}
  allow:
    - from: [{account: client}]
      to: [{methods: [GET], path: {prefix: /}}]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: {name: grpc-callers}
spec:
  destination: {account: grpc}
  allow:
    - from: [{account: client}]
      to: [{methods: [POST], path: {prefix: /bench.Echo/}}]
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: {name: tcp-callers}
spec:
  destination: {account: tcp}
  allow:
    - from: [{account: client}]
---
apiVersion: weft.dev/v1alpha1
kind: MeshConfig
metadata: {name: default}
spec: {mtls: %s}
`

// mesh is the control plane of the sidecars that are measured. It does not run on the proxies' cores and is not counted.
type mesh struct {
	*harness.Mesh
	bin, dir string
}

// weft starts a control plane, a sidecar for the client, and one for each protocol of the app.
func (p Place) weft(ctx context.Context, c *Contender) (err error) {
	c.mesh = &mesh{bin: p.Bin, dir: p.Dir}
	if c.mesh.Mesh, err = harness.Start(ctx, harness.Options{Bin: p.Bin, Dir: p.Dir, Ports: p.Ports}); err != nil {
		c.mesh = nil
		return err
	}
	mode := "strict"
	if p.Single {
		mode = "off" // the outbound sidecar goes straight to the app
	}
	if err := c.mesh.apply(ctx, fmt.Sprintf(manifest, mode)); err != nil {
		return err
	}
	for protocol, at := range map[string]netip.AddrPort{HTTP: p.App.HTTP, GRPC: p.App.GRPC, TCP: p.App.TCP} {
		process, err := p.sidecar(ctx, c, protocol, protocol, "--service", protocol, "--app-port", fmt.Sprint(at.Port()), "--protocol", protocol)
		if err != nil {
			return err
		}
		if !p.Single {
			c.back[protocol] = process
		}
	}
	c.Entry = map[string]netip.AddrPort{}
	args := []string{}
	for _, protocol := range Protocols() {
		args = append(args, "--upstream", protocol)
	}
	if c.front, err = p.sidecar(ctx, c, "client", "client", args...); err != nil {
		return err
	}
	for _, protocol := range Protocols() {
		if c.Entry[protocol], err = c.mesh.port(ctx, "client", "default/"+protocol); err != nil {
			return err
		}
	}
	if p.Single {
		return nil
	}
	c.Inner, err = c.mesh.port(ctx, HTTP, "")
	c.TLS = &load.TLS{
		Cert: c.mesh.state("client", "svid.pem"), Key: c.mesh.state("client", "svid.key"), CA: filepath.Join(p.Dir, "data", "bundle.pem"),
		ServerName: fmt.Sprintf("%d.http.default.weft", p.App.HTTP.Port()), ALPN: "weft-h1/1",
	}
	return err
}

// sidecar starts a sidecar with an identity of its own.
func (p Place) sidecar(ctx context.Context, c *Contender, name, account string, args ...string) (*harness.Process, error) {
	mint := []string{"token", "join", "--account", account}
	for i, arg := range args {
		if arg == "--service" {
			mint = append(mint, arg, args[i+1])
		}
	}
	token, err := c.mesh.weft(ctx, mint...)
	if err != nil {
		return nil, err
	}
	all := []string{filepath.Join(p.Bin, "weft-proxy"), "--workload", name, "--state-dir", c.mesh.state(name), "--log-level", "warn",
		"--access-log", fmt.Sprintf("--access-log-sample=%d", sample)}
	return p.run(c, "sidecar-"+name, []string{group, "WEFT_JOIN_TOKEN=" + strings.TrimSpace(token)}, append(all, args...)...)
}

func (m *mesh) state(parts ...string) string {
	return filepath.Join(append([]string{m.dir, "sidecars"}, parts...)...)
}

// port waits until a sidecar says where it listens: for an upstream, or with none for the mesh.
func (m *mesh) port(ctx context.Context, name, upstream string) (at netip.AddrPort, err error) {
	ctx, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	err = harness.Eventually(ctx, func() error {
		raw, err := os.ReadFile(m.state(name, "ports.json"))
		if err != nil {
			return err
		}
		var ports struct {
			Mesh      string
			Upstreams map[string]string
		}
		if err := json.Unmarshal(raw, &ports); err != nil {
			return err
		}
		text := ports.Mesh
		if upstream != "" {
			text = ports.Upstreams[upstream]
		}
		at, err = netip.ParseAddrPort(text)
		return err
	})
	return at, err
}

// reachable waits until a sidecar's upstream answers.
func (m *mesh) reachable(ctx context.Context, name, upstream string) error {
	at, err := m.port(ctx, name, upstream)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startup)
	defer cancel()
	return harness.Eventually(ctx, func() error {
		_, err := load.Run(load.Spec{Kind: load.HTTP, Address: at, Path: app.Small, Conns: 1, For: 20 * time.Millisecond})
		return err
	})
}

// apply writes objects.
func (m *mesh) apply(ctx context.Context, manifest string) error {
	file := filepath.Join(m.dir, "manifest.yaml")
	if err := write(file, []byte(manifest)); err != nil {
		return err
	}
	_, err := m.weft(ctx, "apply", "--timeout", "5m", "-f", file)
	return err
}

// weft runs the command and returns what it wrote.
func (m *mesh) weft(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(m.bin, "weft"), args...)
	cmd.Env = append(os.Environ(), m.Env()...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("weft %s: %w: %s", args[0], err, exit.Stderr)
	}
	return string(out), err
}

// State is a file in the state directory of one of Weft's sidecars.
func (c *Contender) State(sidecar, file string) string { return c.mesh.state(sidecar, file) }
