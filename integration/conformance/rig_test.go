package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/integration/harness"
)

// world is a control plane in one process and the programs that a test starts with their sidecars.
type world struct {
	*testing.T
	mtls     bool
	bin, dir string
	env      []string
	ports    *harness.Ports
}

// newWorld starts a control plane whose MeshConfig says mode: strict or off.
func newWorld(t *testing.T, mode string) *world {
	t.Helper()
	bin := os.Getenv("WEFT_BIN")
	if bin == "" {
		t.Fatal("WEFT_BIN is not set: run `make conformance`")
	}
	w := &world{T: t, mtls: mode == "strict", bin: bin, dir: t.TempDir(), ports: harness.NewPorts()}
	meshDir := filepath.Join(w.dir, "mesh")
	w.must(os.Mkdir(meshDir, 0o700))
	mesh, err := harness.Start(t.Context(), harness.Options{Bin: bin, Dir: meshDir, Ports: w.ports})
	w.must(err)
	t.Cleanup(func() {
		mesh.Stop()
		if t.Failed() {
			t.Log(mesh.Logs())
		}
	})
	w.env = append(os.Environ(), mesh.Env()...)
	w.apply("MeshConfig", "default", "mtls: "+mode)
	return w
}

// apply applies one object.
func (w *world) apply(kind, name, spec string) {
	w.Helper()
	file := filepath.Join(w.dir, kind+"-"+name+".yaml")
	text := fmt.Sprintf("apiVersion: weft.dev/v1alpha1\nkind: %s\nmetadata: {name: %s}\nspec: {%s}\n", kind, name, spec)
	w.must(os.WriteFile(file, []byte(text), 0o600))
	w.weft("apply", "-f", file)
}

// modes runs a test in a mesh where all is mTLS and in one where nothing is.
func modes(t *testing.T, test func(w *world)) {
	for _, mode := range []string{"strict", "off"} {
		t.Run("mtls "+mode, func(t *testing.T) { test(newWorld(t, mode)) })
	}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// weft runs the command and returns what it prints.
func (w *world) weft(args ...string) string {
	w.Helper()
	cmd := exec.CommandContext(w.Context(), filepath.Join(w.bin, "weft"), args...)
	cmd.Env = w.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.Fatalf("weft %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (w *world) port() int {
	w.Helper()
	port, err := w.ports.Port()
	w.must(err)
	return port
}

// sidecar is a program's sidecar, as its state directory tells.
type sidecar struct {
	dir string
	// Mesh and Inbound are where it takes mTLS and plaintext for the program, Upstreams where the program reaches others.
	Mesh, Inbound string
	Upstreams     map[string]string
}

// run starts a program with a sidecar, which ends with the test, and returns once the sidecar listens and
// has its identity.
func (w *world) run(name string, flags []string, program ...string) *sidecar {
	w.Helper()
	s := &sidecar{dir: filepath.Join(w.dir, name)}
	args := append([]string{filepath.Join(w.bin, "weft"), "run", "--name", name, "--state-dir", s.dir}, flags...)
	log := filepath.Join(w.dir, name+".log")
	p, err := harness.Command{Name: name, Log: log, Env: w.env, Args: append(append(args, "--"), program...)}.Start()
	w.must(err)
	w.Cleanup(func() {
		p.End()
		if w.Failed() {
			data, _ := os.ReadFile(log)
			w.Logf("--- %s\n%s", name, data)
		}
	})
	w.eventually(func() error {
		if p.Ended() {
			return harness.Fatal{Err: fmt.Errorf("%s has ended", name)}
		}
		if _, err := os.Stat(filepath.Join(s.dir, "svid.pem")); err != nil {
			return err
		}
		data, err := os.ReadFile(filepath.Join(s.dir, "ports.json"))
		if err != nil {
			return err
		}
		return json.Unmarshal(data, s)
	})
	return s
}

func (w *world) eventually(check func() error) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	w.must(harness.Eventually(ctx, check))
}

// app is the sidecar of a service whose program listens on a port of loopback already, in this process. An empty protocol is
// told from the first bytes.
func (w *world) app(service, protocol string, port int) *sidecar {
	w.Helper()
	return w.service(service, protocol, port, "sleep", "1000")
}

// service starts a program as the only endpoint of a service and waits until the mesh knows it.
func (w *world) service(service, protocol string, port int, program ...string) *sidecar {
	w.Helper()
	flags := []string{"--service", service, "--port", strconv.Itoa(port)}
	if protocol != "" {
		w.apply("Service", service, fmt.Sprintf("accounts: [%s], ports: [{port: 80, protocol: %s}]", service, protocol))
		flags = append(flags, "--protocol", protocol)
	}
	s := w.run(service+"-1", flags, program...)
	w.eventually(func() error {
		if out := w.weft("services"); !strings.Contains(out, service+"-1") {
			return fmt.Errorf("%s is not registered:\n%s", service, out)
		}
		return nil
	})
	return s
}

// client is the sidecar of a program that calls services.
func (w *world) client(services ...string) *sidecar {
	w.Helper()
	flags := []string{"--account", "client"}
	for _, s := range services {
		flags = append(flags, "--upstream", s)
	}
	return w.run("client-1", flags, "sleep", "1000")
}

// upstream is where a client reaches a service.
func (s *sidecar) upstream(service string) string { return s.Upstreams["default/"+service] }

// serve serves HTTP of the given versions on loopback until the test ends and returns the port.
func (w *world) serve(handler http.HandlerFunc, http1, http2 bool) int {
	w.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	server := &http.Server{Handler: handler, Protocols: versions(http1, http2)}
	go server.Serve(l) // ends with Close
	w.Cleanup(func() { server.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

// versions are those of HTTP without TLS; 2 is by prior knowledge.
func versions(http1, http2 bool) *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(http1)
	p.SetUnencryptedHTTP2(http2)
	return p
}
