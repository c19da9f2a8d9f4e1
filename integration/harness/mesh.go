package harness

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Options say what mesh to start.
type Options struct {
	// Bin is the folder of the built binaries.
	Bin string
	// Dir is an empty folder for everything that the mesh writes.
	Dir string
	// Split runs one process for each replica of each service instead of `weft up`.
	Split bool
	// Members of the etcd cluster, with Split; 0 means 1.
	Members int
	// Replicas of each service, with Split; 0 means 1. ReplicasOf overrides it for single services.
	Replicas   int
	ReplicasOf map[string]int
	// Ports hands out the ports; shared by everything of one test binary.
	Ports *Ports
	// Flags are given to every control-plane process.
	Flags []string
}

// Mesh is a running control plane.
type Mesh struct {
	opts      Options
	members   []*Member // of the etcd cluster, with Split
	instances []*Instance
}

// Instance is one process of the control plane.
type Instance struct {
	// Name is "up", or the service with the number of the replica: "policy-1".
	Name string
	// Service is the service, or "up".
	Service string

	port    int
	rest    int
	dir     string
	args    []string
	process *Process
}

// services in the order in which a split control plane starts.
func services() []string {
	return []string{"identity", "discovery", "policy", "telemetry", "distributor", "gateway"}
}

// Start starts a mesh and returns when every instance of it is ready.
func Start(ctx context.Context, opts Options) (*Mesh, error) {
	m := &Mesh{opts: opts}
	err := m.plan()
	if err == nil {
		err = m.startAll(ctx)
	}
	if err != nil {
		m.Stop()
		return nil, fmt.Errorf("start mesh: %w\n%s", err, m.Logs())
	}
	return m, nil
}

// plan chooses ports and folders.
func (m *Mesh) plan() error {
	if !m.opts.Split {
		in := &Instance{Name: "up", Service: "up", dir: filepath.Join(m.opts.Dir, "data")}
		for _, s := range services() {
			p, err := m.opts.Ports.Service()
			if err != nil {
				return err
			}
			if s == "gateway" {
				in.port = p
			}
			in.args = append(in.args, fmt.Sprintf("--%s-port=%d", s, p))
		}
		rest, err := m.opts.Ports.Port()
		in.rest = rest
		in.args = append(in.args, fmt.Sprintf("--gateway-rest-port=%d", rest))
		m.instances = []*Instance{in}
		return err
	}
	for _, s := range services() {
		for i := range max(1, cmp.Or(m.opts.ReplicasOf[s], m.opts.Replicas)) {
			p, err := m.opts.Ports.Service()
			if err != nil {
				return err
			}
			rest, err := m.opts.Ports.Port()
			if err != nil {
				return err
			}
			name := fmt.Sprintf("%s-%d", s, i+1)
			m.instances = append(m.instances, &Instance{Name: name, Service: s, port: p, rest: rest, dir: filepath.Join(m.opts.Dir, name)})
		}
	}
	return nil
}

func (m *Mesh) startAll(ctx context.Context) error {
	if !m.opts.Split {
		return m.Up(ctx, "up")
	}
	if err := m.startEtcd(ctx); err != nil {
		return err
	}
	for _, in := range m.instances {
		if err := m.launch(ctx, in); err != nil {
			return err
		}
		// The others take their first identity from it.
		if in.Name == "identity-1" {
			if err := m.waitReady(ctx, in); err != nil {
				return err
			}
		}
	}
	for _, in := range m.instances {
		if err := m.waitReady(ctx, in); err != nil {
			return err
		}
	}
	return nil
}

// Up starts an instance that was stopped or killed, by its name, and waits until it is ready. One that runs stays: scripts
// name the services one after the other, which are one process when all are in one.
func (m *Mesh) Up(ctx context.Context, name string) error {
	in, err := m.find(name)
	if err != nil {
		return err
	}
	if in.process != nil && !in.process.Ended() {
		return m.waitReady(ctx, in)
	}
	if err := m.launch(ctx, in); err != nil {
		return err
	}
	return m.waitReady(ctx, in)
}

// End stops an instance with a signal and waits until it has gone.
func (m *Mesh) End(name string, sig syscall.Signal) error {
	in, err := m.find(name)
	if err != nil {
		return err
	}
	in.process.Signal(sig)
	if !in.process.Wait(40 * time.Second) {
		return fmt.Errorf("%s does not end after %v", name, sig)
	}
	return nil
}

func (m *Mesh) find(name string) (*Instance, error) {
	i := slices.IndexFunc(m.instances, func(in *Instance) bool { return in.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("no instance %q in this mesh: there are %s", name, strings.Join(m.Instances(), ", "))
	}
	return m.instances[i], nil
}

// Pause stops an instance's process where it is; Resume lets it go on.
func (m *Mesh) Pause(name string) error { return m.signal(name, syscall.SIGSTOP) }

// Resume lets a paused instance go on.
func (m *Mesh) Resume(name string) error { return m.signal(name, syscall.SIGCONT) }

func (m *Mesh) signal(name string, sig syscall.Signal) error {
	in, err := m.find(name)
	if err == nil {
		in.process.Signal(sig)
	}
	return err
}

// Metrics is where an instance of a split mesh serves its metrics.
func (m *Mesh) Metrics(name string) (string, error) {
	in, err := m.find(name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("http://127.0.0.1:%d/metrics", in.port+100), nil
}

// Instances lists the names of all instances.
func (m *Mesh) Instances() []string {
	var names []string
	for _, in := range m.instances {
		names = append(names, in.Name)
	}
	return names
}

// launch starts the process of an instance.
func (m *Mesh) launch(ctx context.Context, in *Instance) error {
	binary := "weft"
	args := []string{"--data-dir", in.dir, "--run-dir", in.dir + "-run", "--log-level", "info", "--log-format", "json"}
	switch {
	case !m.opts.Split:
		args = append([]string{"up"}, append(args, in.args...)...)
	default:
		binary = "weft-" + in.Service
		args = append(args, "--etcd-endpoints", strings.Join(m.EtcdEndpoints(), ","), fmt.Sprintf("--%s-port=%d", in.Service, in.port))
		if in.Service == "gateway" {
			args = append(args, fmt.Sprintf("--gateway-rest-port=%d", in.rest))
		}
		for _, s := range services() {
			args = append(args, "--"+s+"-address", strings.Join(m.addresses(s), ","))
		}
		token, err := m.joinToken(ctx, in)
		if err != nil {
			return err
		}
		if token != "" {
			args = append(args, "--join-token-file", token)
		}
	}
	args = append(args, m.opts.Flags...)
	p, err := Command{
		Name: in.Name, Log: filepath.Join(m.opts.Dir, in.Name+".log"), Args: append([]string{filepath.Join(m.opts.Bin, binary)}, args...),
	}.Start()
	in.process = p
	return err
}

// Addresses lists where the replicas of a service are, host:port, in the order of their numbers. With Split only.
func (m *Mesh) Addresses(service string) []string { return m.addresses(service) }

// Health is the base URL of the health and metrics port of an instance of a split mesh.
func (m *Mesh) Health(name string) (string, error) {
	in, err := m.find(name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("http://127.0.0.1:%d", in.port+healthOffset), nil
}

// Pid is the process of an instance, or of "etcd" (its first member) in a split mesh.
func (m *Mesh) Pid(name string) (int, error) {
	if name == "etcd" && len(m.members) > 0 {
		return m.members[0].process.Pid(), nil
	}
	in, err := m.find(name)
	if err != nil {
		return 0, err
	}
	return in.process.Pid(), nil
}

func (m *Mesh) addresses(service string) []string {
	var out []string
	for _, in := range m.instances {
		if in.Service == service {
			out = append(out, fmt.Sprintf("127.0.0.1:%d", in.port))
		}
	}
	return out
}

// joinToken mints the token by which an instance gets its first identity; identity itself needs none, and
// one that has been up before has its own already.
func (m *Mesh) joinToken(ctx context.Context, in *Instance) (string, error) {
	file := in.dir + ".token"
	if in.Service == "identity" {
		return "", nil
	}
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	first, err := m.find("identity-1")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(m.opts.Bin, "weft"), "token", "join", "-n", "weft-system", "--account", in.Service,
		"--identity", fmt.Sprintf("127.0.0.1:%d", first.port), "--data-dir", first.dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("join token for %s: %w: %s", in.Name, err, stderr.String())
	}
	return file, os.WriteFile(file, stdout.Bytes(), 0o600)
}

// waitReady polls an instance's health port, which says ready only when every service in it can answer.
func (m *Mesh) waitReady(ctx context.Context, in *Instance) error {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	return Eventually(ctx, func() error {
		if in.process.Ended() {
			return Fatal{Err: fmt.Errorf("%s has ended", in.Name)}
		}
		for _, port := range in.healthPorts() {
			if err := getOK(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", port)); err != nil {
				return fmt.Errorf("%s: %w", in.Name, err)
			}
		}
		return nil
	})
}

func (in *Instance) healthPorts() []int {
	if in.Service != "up" {
		return []int{in.port + 100}
	}
	var out []int
	for _, arg := range in.args {
		var service string
		var port int
		flag, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if service = strings.TrimSuffix(flag, "-port"); !slices.Contains(services(), service) {
			continue
		}
		if _, err := fmt.Sscan(value, &port); err == nil {
			out = append(out, port+100)
		}
	}
	return out
}

// Env is the environment in which `weft` talks to this mesh.
func (m *Mesh) Env() []string {
	var gateway *Instance
	data := filepath.Join(m.opts.Dir, "data")
	for _, in := range m.instances {
		if in.Service == "up" || in.Service == "gateway" && gateway == nil {
			gateway = in
		}
	}
	env := []string{
		fmt.Sprintf("WEFT_GATEWAY=127.0.0.1:%d", gateway.port),
		fmt.Sprintf("WEFT_REST=http://127.0.0.1:%d", gateway.rest),
		"WEFT_DATA_DIR=" + data,
		"WEFT_PROXY=" + filepath.Join(m.opts.Bin, "weft-proxy"),
		"WEFT_CAPTURE=explicit", // tests call loopback upstreams themselves, from outside of any program
	}
	env = append(env, "WEFT_TOKEN_FILE="+filepath.Join(m.authorityDir(), "admin.token"), "WEFT_AUTHORITY_DIR="+m.authorityDir())
	if m.opts.Split {
		env = append(env, "WEFT_ETCD_ENDPOINTS="+strings.Join(m.EtcdEndpoints(), ","))
	}
	return env
}

// authorityDir is the data directory of the first authority.
func (m *Mesh) authorityDir() string {
	if m.opts.Split {
		return filepath.Join(m.opts.Dir, "identity-1")
	}
	return filepath.Join(m.opts.Dir, "data")
}

// Stop ends every process of the mesh, the last one started first.
func (m *Mesh) Stop() {
	for _, in := range slices.Backward(m.instances) {
		if in.process != nil {
			in.process.End()
		}
	}
	for _, member := range m.members {
		member.end()
	}
}

// Logs is the end of every instance's log, for a test that failed.
func (m *Mesh) Logs() string {
	const tail = 4000
	var b strings.Builder
	for _, in := range m.instances {
		data, err := os.ReadFile(filepath.Join(m.opts.Dir, in.Name+".log"))
		if errors.Is(err, os.ErrNotExist) || len(data) == 0 {
			continue
		}
		fmt.Fprintf(&b, "--- %s\n%s\n", in.Name, data[max(0, len(data)-tail):])
	}
	return b.String()
}

// Gateways are the gRPC addresses of all replicas of the gateway, comma-separated.
func (m *Mesh) Gateways() string {
	if !m.opts.Split {
		return fmt.Sprintf("127.0.0.1:%d", m.instances[0].port)
	}
	return strings.Join(m.addresses("gateway"), ",")
}
