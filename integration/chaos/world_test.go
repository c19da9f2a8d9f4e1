package chaos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/integration/harness"
)

// settle is how long the mesh may take to be whole again after a fault, on a machine that has other things to do.
const settle = 40 * time.Second

// world is a mesh with an etcd cluster of three, two versions of a service, a client that is allowed to call it and one whose
// access changes.
type world struct {
	*harness.Mesh
	t    *testing.T
	bin  string
	dir  string
	env  []string
	port *harness.Ports

	good, other string // addresses at which the clients reach reviews through their sidecars

	policy      policypb.PolicyServiceClient
	discovery   discoverypb.DiscoveryServiceClient
	convergence configpb.ConvergenceServiceClient
}

// newWorld starts everything and returns when traffic flows.
func newWorld(t *testing.T, replicas int, flags ...string) *world {
	t.Helper()
	bin := os.Getenv("WEFT_BIN")
	if bin == "" {
		t.Fatal("WEFT_BIN is not set: run `make e2e`")
	}
	w := &world{t: t, bin: bin, dir: t.TempDir(), port: harness.NewPorts()}
	meshDir := filepath.Join(w.dir, "mesh")
	must(t, os.Mkdir(meshDir, 0o700))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var err error
	w.Mesh, err = harness.Start(ctx, harness.Options{Bin: bin, Dir: meshDir, Split: true, Members: 3, Replicas: replicas, Ports: w.port, Flags: flags})
	must(t, err)
	t.Cleanup(func() {
		w.Stop()
		if t.Failed() {
			t.Log(w.Logs())
		}
	})
	w.env = append(os.Environ(), append(w.Env(), "WEFT_GATEWAY="+w.Gateways())...)
	w.dial()
	for i, version := range []string{"v1", "v2"} {
		port := w.newPort()
		w.program(fmt.Sprintf("reviews-%d", i+1), "--service", "reviews", "--port", port, "--label", "version="+version,
			"--", filepath.Join(bin, "weft-shop"), "reviews", "--listen", "127.0.0.1:"+port, "--version", version)
	}
	for _, name := range []string{"reviews-1", "reviews-2"} {
		w.eventually(name+" is registered", func() error { return w.has(name) })
	}
	w.good, w.other = w.client("good"), w.client("other")
	for _, address := range []string{w.good, w.other} {
		w.eventually("first answer", func() error { return ask(t.Context(), address).failure() })
	}
	w.whole(sidecars)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) newPort() string {
	w.t.Helper()
	p, err := w.port.Port()
	must(w.t, err)
	return strconv.Itoa(p)
}

// program starts a program in the mesh.
func (w *world) program(name string, args ...string) *harness.Process {
	w.t.Helper()
	p, err := harness.Command{
		Name: name, Log: filepath.Join(w.dir, name+".log"), Env: w.env,
		Args: append([]string{filepath.Join(w.bin, "weft"), "run", "--name", name}, args...),
	}.Start()
	must(w.t, err)
	w.t.Cleanup(func() {
		p.End()
		if log, err := os.ReadFile(p.Log); err == nil && w.t.Failed() {
			w.t.Logf("--- %s\n%s", name, log[max(0, len(log)-2000):])
		}
	})
	return p
}

// client starts a program whose sidecar reaches reviews for the test, and returns where.
func (w *world) client(account string) string {
	w.t.Helper()
	port := w.newPort()
	w.program(account+"-1", "--account", account, "--upstream", "reviews="+port, "--", "sleep", "1000000")
	return "127.0.0.1:" + port
}

// dial connects to every gateway as the first administrator.
func (w *world) dial() {
	w.t.Helper()
	var file string
	for _, kv := range w.Env() {
		if value, ok := strings.CutPrefix(kv, "WEFT_TOKEN_FILE="); ok {
			file = value
		}
	}
	token, err := os.ReadFile(file)
	must(w.t, err)
	credential := metadata.Pairs("authorization", "Bearer "+strings.TrimSpace(string(token)))
	gateways := manual.NewBuilderWithScheme("gateways")
	var state resolver.State
	for address := range strings.SplitSeq(w.Gateways(), ",") {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	gateways.InitialState(state)
	conn, err := grpc.NewClient("gateways:///", grpc.WithResolvers(gateways), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, in, out any, cc *grpc.ClientConn, call grpc.UnaryInvoker, o ...grpc.CallOption) error {
			return call(metadata.NewOutgoingContext(ctx, credential), method, in, out, cc, o...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(metadata.NewOutgoingContext(ctx, credential), d, cc, method, o...)
		}))
	must(w.t, err)
	w.t.Cleanup(func() { conn.Close() })
	w.policy = policypb.NewPolicyServiceClient(conn)
	w.discovery = discoverypb.NewDiscoveryServiceClient(conn)
	w.convergence = configpb.NewConvergenceServiceClient(conn)
}

// eventually repeats a check until it passes.
func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), settle)
	defer cancel()
	if err := harness.Eventually(ctx, check); err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

// applied waits until all that is affected by a change is connected and has applied it.
func (w *world) applied(ctx context.Context, revision *typepb.SourceRevision) error {
	return harness.Eventually(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		got, err := w.convergence.GetConvergence(ctx, &configpb.GetConvergenceRequest{Target: &typepb.RevisionVector{Revisions: []*typepb.SourceRevision{revision}}})
		if err != nil {
			return err
		}
		if c := got.GetConvergence(); !c.GetConverged() || len(c.GetAway())+len(c.GetUnreachableReplicas()) > 0 {
			return fmt.Errorf("not in force: %v", c)
		}
		return nil
	})
}

// whole waits until every sidecar is connected and up to date, and every etcd member and instance serves.
func (w *world) whole(sidecars int) {
	w.t.Helper()
	must(w.t, w.EtcdHealthy(w.t.Context()))
	must(w.t, w.UpAll(w.t.Context()))
	w.eventually("sidecars are in step", func() error {
		ctx, cancel := context.WithTimeout(w.t.Context(), 3*time.Second)
		defer cancel()
		list, err := w.convergence.ListSidecars(ctx, &configpb.ListSidecarsRequest{})
		if err != nil {
			return err
		}
		if n := len(list.GetSidecars()); n != sidecars || len(list.GetUnreachableReplicas()) > 0 {
			return fmt.Errorf("%d sidecars, want %d; unreachable: %v", n, sidecars, list.GetUnreachableReplicas())
		}
		for _, s := range list.GetSidecars() {
			if !s.GetConnected() || s.GetBehind() || len(s.GetNacks()) > 0 {
				return fmt.Errorf("sidecar is not in step: %v", s)
			}
		}
		return nil
	})
}

// metric sums a metric's samples whose labels match over the replicas of a service.
func (w *world) metric(service, name, labels string) float64 {
	w.t.Helper()
	sample := regexp.MustCompile(`(?m)^` + name + `\{?[^}\n]*` + labels + `[^}\n]*\}? ([0-9.e+]+)`)
	sum := 0.0
	for _, instance := range w.Instances() {
		if !strings.HasPrefix(instance, service+"-") {
			continue
		}
		url, err := w.Metrics(instance)
		must(w.t, err)
		resp, err := http.Get(url)
		must(w.t, err)
		text, err := io.ReadAll(resp.Body)
		must(w.t, err)
		resp.Body.Close()
		for _, m := range sample.FindAllStringSubmatch(string(text), -1) {
			v, err := strconv.ParseFloat(m[1], 64)
			must(w.t, err)
			sum += v
		}
	}
	return sum
}

// wait lets time pass for a fault to do its work; nothing is asserted about how long that is.
func (w *world) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.t.Context().Done():
	}
}

// kill ends an instance as SIGKILL does.
func (w *world) kill(name string) { must(w.t, w.End(name, syscall.SIGKILL)) }
