package distributor

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/distributor/compile/compiletest"
	"github.com/weft-mesh/weft/services/distributor/fanout/fanouttest"
	"github.com/weft-mesh/weft/services/distributor/intake/intaketest"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mesh is several replicas of the distributor that know each other.
type mesh struct {
	t        *testing.T
	ca       *testca.CA
	replicas []*replica
}

// replica is one of them; it is the others' Peers too.
type replica struct {
	mesh    *mesh
	name    string
	service *Service
	server  *fanouttest.Server
	sources *intaketest.Sources
	metrics *prometheus.Registry
	lost    bool // its peers cannot reach it
}

func newMesh(t *testing.T, names ...string) *mesh {
	t.Helper()
	m := &mesh{t: t, ca: testca.New(t, "weft.local")}
	for _, name := range names {
		r := &replica{mesh: m, name: name, sources: intaketest.New(), metrics: prometheus.NewRegistry()}
		service, err := New(Default(), Deps{
			Log: zaptest.NewLogger(t), Metrics: r.metrics, Replica: name, Peers: r, Now: time.Now,
			Policy: r.sources.PolicyClient(), Discovery: r.sources.DiscoveryClient(), Identity: r.sources.IdentityClient(),
		})
		if err != nil {
			t.Fatal(err)
		}
		r.service = service
		r.server = fanouttest.Serve(t, m.ca, service.Register)
		m.replicas = append(m.replicas, r)
	}
	return m
}

// List implements Peers.
func (r *replica) List() []rpc.Peer {
	var out []rpc.Peer
	for _, other := range r.mesh.replicas {
		if other != r {
			out = append(out, rpc.Peer{Replica: other.name, Address: other.name})
		}
	}
	return out
}

// Dial implements Peers.
func (r *replica) Dial(p rpc.Peer) (grpc.ClientConnInterface, error) {
	for _, other := range r.mesh.replicas {
		if other.name == p.Replica && !other.lost {
			return other.server.Conn(system("distributor")), nil
		}
	}
	return nil, errors.New("no route to host")
}

func system(service string) spiffe.Account {
	return spiffe.Account{Namespace: spiffe.SystemNamespace, Name: service}
}

func account(name string) spiffe.Account { return spiffe.Account{Namespace: "x", Name: name} }

// publish gives every replica, or those named by index, a world at a policy revision.
func (m *mesh) publish(policy uint64, text string, only ...int) {
	m.t.Helper()
	for i, r := range m.replicas {
		w := compiletest.World(m.t, text)
		w.Vector = compiletest.Vector(policy, 1, 1)
		if len(only) == 0 || only[0] == i {
			r.service.publish(w)
		}
	}
}

// sidecar connects a sidecar of account "web" to a replica and waits until it has everything.
func (m *mesh) sidecar(r *replica, workload string, services ...string) *fanouttest.Sidecar {
	m.t.Helper()
	s := fanouttest.New(m.t, "x", workload, services...)
	s.Connect(r.server.Conn(account("web")))
	s.Reached(r.service.hub.Vector())
	return s
}

// client asks a replica as the gateway does.
func (r *replica) client() configpb.ConvergenceServiceClient {
	return configpb.NewConvergenceServiceClient(r.server.Conn(system("gateway")))
}

// until asks for convergence until the answer is as wanted.
func (r *replica) until(target uint64, what string, ok func(*configpb.Convergence) bool) *configpb.Convergence {
	t := r.mesh.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		changed := r.service.hub.Changed()
		got, err := r.client().GetConvergence(ctx, &configpb.GetConvergenceRequest{Target: targetPolicy(target)})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if ok(got.GetConvergence()) {
			return got.GetConvergence()
		}
		if err := wait(ctx, changed, hurry); err != nil {
			t.Fatalf("no %s: %v", what, got.GetConvergence())
		}
	}
}

func policyVector(seq uint64) model.Vector {
	return model.Vector{Policy: compiletest.Vector(seq, 0, 0).Policy}
}
