package discovery

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// rig is a store with replicas of discovery on it, inside of a bubble of synctest.
type rig struct {
	t     *testing.T
	store *memkv.Store
	late  *gate // holds up what replicas hear of the store; nil: nothing is held up

	mu   sync.Mutex
	live []string
}

func newRig(t *testing.T) *rig { return &rig{t: t, store: memkv.New()} }

func inBubble(t *testing.T, test func(r *rig)) {
	synctest.Test(t, func(t *testing.T) { test(newRig(t)) })
}

// replica is one running discovery.
type replica struct {
	*server
	rig  *rig
	name string
	kill func() // as SIGKILL: its streams end, it says nothing to anybody
}

func (r *rig) start(name string, files ...string) *replica {
	r.t.Helper()
	cfg := Default()
	cfg.StaticFiles = files
	s, err := New(cfg, Deps{
		Log: zap.NewNop(), Store: r.late.hold(r.store), Metrics: prometheus.NewRegistry(), Replica: name,
		Peers: func() []string { return r.others(name) }, Gateway: "gateway", Distributor: "distributor",
	})
	if err != nil {
		r.t.Fatal(err)
	}
	s.server.static.changes = func(context.Context, []string, *zap.Logger) <-chan struct{} { return nil }
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r.mu.Lock()
	r.live = append(r.live, name)
	r.mu.Unlock()
	var once sync.Once
	kill := func() {
		once.Do(func() {
			r.mu.Lock()
			r.live = slices.DeleteFunc(r.live, func(n string) bool { return n == name })
			r.mu.Unlock()
			cancel()
			if err := <-done; err != nil {
				r.t.Error(err)
			}
		})
	}
	r.t.Cleanup(kill)
	synctest.Wait()
	return &replica{server: s.server, rig: r, name: name, kill: kill}
}

func (r *rig) others(name string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.live), func(n string) bool { return n == name })
}

// pass lets time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// sidecar is the client's side of one registration stream.
type sidecar struct {
	grpc.ServerStream
	ctx     context.Context
	cancel  context.CancelFunc
	in      chan *discoverypb.RegisterRequest
	answers []*discoverypb.RegisterResponse
	done    chan struct{}
	err     error // how the stream ended; read after done
}

func (s *sidecar) Context() context.Context { return s.ctx }
func (s *sidecar) Send(m *discoverypb.RegisterResponse) error {
	s.answers = append(s.answers, m)
	return nil
}
func (s *sidecar) Recv() (*discoverypb.RegisterRequest, error) {
	select {
	case m, ok := <-s.in:
		if !ok {
			return nil, io.EOF
		}
		return m, nil
	case <-s.ctx.Done():
		return nil, s.ctx.Err()
	}
}

func as(ctx context.Context, account string) context.Context {
	ns, name, ok := strings.Cut(account, "/")
	if !ok {
		ns, name = model.DefaultNamespace, ns
	}
	return rpc.WithCaller(ctx, rpc.Caller{Account: spiffe.Account{Namespace: ns, Name: name}})
}

// connect opens a stream and sends one workload; nothing is sent with nil.
func (r *replica) connect(account string, w *discoverypb.Workload) *sidecar {
	ctx, cancel := context.WithCancel(as(r.rig.t.Context(), account))
	s := &sidecar{ctx: ctx, cancel: cancel, in: make(chan *discoverypb.RegisterRequest), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.err = r.Register(s)
		cancel() // as gRPC does when a handler has ended
	}()
	r.rig.t.Cleanup(s.hangUp)
	if w != nil {
		s.say(&discoverypb.RegisterRequest{Request: &discoverypb.RegisterRequest_Workload{Workload: w}})
	}
	return s
}

func (s *sidecar) say(m *discoverypb.RegisterRequest) {
	select {
	case s.in <- m:
	case <-s.done:
	}
	synctest.Wait()
}

func (s *sidecar) heartbeat() {
	s.say(&discoverypb.RegisterRequest{Request: &discoverypb.RegisterRequest_Heartbeat{Heartbeat: &discoverypb.Heartbeat{}}})
}

// beat keeps the stream alive until it ends.
func (s *sidecar) beat() *sidecar {
	go func() {
		for {
			select {
			case <-time.After(3 * time.Second):
			case <-s.done:
				return
			}
			select {
			case s.in <- &discoverypb.RegisterRequest{Request: &discoverypb.RegisterRequest_Heartbeat{Heartbeat: &discoverypb.Heartbeat{}}}:
			case <-s.done:
				return
			}
		}
	}()
	return s
}

// hangUp breaks the stream.
func (s *sidecar) hangUp() {
	s.cancel()
	<-s.done
}

func (s *sidecar) ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

func workload(name string, services ...string) *discoverypb.Workload {
	return &discoverypb.Workload{Metadata: &typepb.ObjectMeta{Name: name}, Spec: &discoverypb.WorkloadSpec{
		Services: services, Address: "10.0.0.1", MeshPort: 15008, Ports: []*discoverypb.WorkloadPort{{Port: 8080}},
	}}
}

func (r *replica) service(name string, accounts ...string) *discoverypb.Service {
	r.rig.t.Helper()
	a, err := r.CreateService(r.rig.t.Context(), &discoverypb.CreateServiceRequest{Service: &discoverypb.Service{
		Metadata: &typepb.ObjectMeta{Name: name},
		Spec:     &discoverypb.ServiceSpec{Accounts: accounts, Ports: []*discoverypb.ServicePort{{Port: 80}}},
	}})
	if err != nil {
		r.rig.t.Fatal(err)
	}
	return a.GetService()
}

func (r *replica) state(name string) discoverypb.WorkloadState {
	r.rig.t.Helper()
	return r.workload(name).GetStatus().GetState()
}

func (r *replica) workload(name string) *discoverypb.Workload {
	r.rig.t.Helper()
	got, err := r.GetWorkload(r.rig.t.Context(), &discoverypb.GetWorkloadRequest{Name: name})
	if err != nil {
		r.rig.t.Fatal(err)
	}
	return got.GetWorkload()
}

func (r *replica) endpoints(service string) []string {
	r.rig.t.Helper()
	got, err := r.ListEndpoints(r.rig.t.Context(), &discoverypb.ListEndpointsRequest{Service: service})
	if err != nil {
		r.rig.t.Fatal(err)
	}
	var out []string
	for _, e := range got.GetEndpoints() {
		out = append(out, e.GetWorkload())
	}
	return out
}

func wantFault(t *testing.T, err error, kind fault.Kind, parts ...string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != kind {
		t.Fatalf("want a fault of kind %d, got %v", kind, err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("want %q in %q", p, err)
		}
	}
}

const (
	ready   = discoverypb.WorkloadState_WORKLOAD_STATE_READY
	unknown = discoverypb.WorkloadState_WORKLOAD_STATE_UNKNOWN
)
