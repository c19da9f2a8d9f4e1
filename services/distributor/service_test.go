package distributor

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/distributor/compile/compiletest"
	"github.com/weft-mesh/weft/services/distributor/fanout/fanouttest"
	"github.com/weft-mesh/weft/services/distributor/intake/intaketest"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

const world = `
service x/web accounts=web ports=80:http
workload x/web-1 account=web services=web address=10.0.0.1 mesh=15008 ports=8080
workload x/web-2 account=web services=web address=10.0.0.2 mesh=15008 ports=8080
workload x/web-3 account=web services=web address=10.0.0.3 mesh=15008 ports=8080
`

const changed = world + "route x/web service=web\nrule backends=web timeout=1s\n"

func targetPolicy(seq uint64) *typepb.RevisionVector { return modelpb.VectorToProto(policyVector(seq)) }

func TestConvergenceCountsAllReplicas(t *testing.T) {
	m := newMesh(t, "a", "b")
	a, b := m.replicas[0], m.replicas[1]
	m.publish(1, world)
	one, two := m.sidecar(a, "web-1", "x/web"), m.sidecar(b, "web-2", "x/web")

	m.publish(2, changed, 0)
	one.Reached(compiletest.Vector(2, 1, 1))
	a.until(2, "one replica that has not compiled yet", func(c *configpb.Convergence) bool {
		return c.GetCompiling() && !c.GetConverged() && c.GetApplied() == 1
	})

	two.Silence(true)
	m.publish(2, changed, 1)
	for _, r := range m.replicas {
		c := r.until(2, "a sidecar behind at one replica", func(c *configpb.Convergence) bool { return !c.GetCompiling() && c.GetApplied() == 1 })
		if c.GetConverged() || !slices.Equal(c.GetBehind(), []string{"x/web-2"}) || c.GetAffected() != 2 {
			t.Errorf("replica %s: %v", r.name, c)
		}
	}
	two.Silence(false)
	for _, r := range m.replicas {
		c := r.until(2, "convergence", (*configpb.Convergence).GetConverged)
		if c.GetAffected() != 2 || c.GetApplied() != 2 || c.GetTook() == nil {
			t.Errorf("replica %s: %v", r.name, c)
		}
	}

	// web-3 is registered and has no stream anywhere; the others are away from one replica only.
	m.publish(3, changed+"mesh mtls=strict")
	c := a.until(3, "convergence", (*configpb.Convergence).GetConverged)
	if c.GetAffected() != 3 || c.GetApplied() != 2 || !slices.Equal(c.GetAway(), []string{"x/web-3"}) {
		t.Errorf("one sidecar is nowhere: %v", c)
	}

	b.lost = true
	c = a.until(3, "an answer without the lost replica", func(c *configpb.Convergence) bool { return len(c.GetUnreachableReplicas()) == 1 })
	if c.GetConverged() || c.GetUnreachableReplicas()[0] != "b" {
		t.Errorf("a replica that cannot be asked may serve what was before: %v", c)
	}
}

func TestWatchConvergenceEndsWhenTheTargetIsReached(t *testing.T) {
	m := newMesh(t, "a", "b")
	m.publish(1, world)
	one := m.sidecar(m.replicas[0], "web-1", "x/web")
	m.sidecar(m.replicas[1], "web-2", "x/web")
	stream, err := m.replicas[1].client().WatchConvergence(t.Context(), &configpb.WatchConvergenceRequest{Target: targetPolicy(2)})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetConvergence().GetConverged() || !first.GetConvergence().GetCompiling() {
		t.Fatalf("first: %v, %v", first, err)
	}
	one.Silence(true)
	m.publish(2, changed)
	var last *configpb.Convergence
	for {
		next, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = next.GetConvergence()
		if slices.Equal(last.GetBehind(), []string{"x/web-1"}) {
			one.Silence(false)
		}
	}
	if !last.GetConverged() || last.GetApplied() != 2 {
		t.Errorf("last: %v", last)
	}
}

func TestListSidecarsJoinsReplicasAndCatalogue(t *testing.T) {
	m := newMesh(t, "a", "b")
	m.publish(1, world)
	m.sidecar(m.replicas[0], "web-1")
	m.sidecar(m.replicas[1], "web-2")
	m.sidecar(m.replicas[1], "job")
	list, err := m.replicas[0].client().ListSidecars(t.Context(), &configpb.ListSidecarsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range list.GetSidecars() {
		got = append(got, s.GetWorkload()+" at "+s.GetReplica())
	}
	if diff := cmp.Diff([]string{"job at b", "web-1 at a", "web-2 at b", "web-3 at "}, got); diff != "" {
		t.Errorf("sidecars (-want +got):\n%s", diff)
	}
	if v, _ := modelpb.VectorFromProto(list.GetCompiled()); v != compiletest.Vector(1, 1, 1) {
		t.Errorf("compiled %v", v)
	}
}

func TestCallersAreAuthorized(t *testing.T) {
	m := newMesh(t, "a")
	r := m.replicas[0]
	m.publish(1, world)
	_, err := configpb.NewConvergenceServiceClient(r.server.Conn(account("web"))).ListSidecars(t.Context(), &configpb.ListSidecarsRequest{})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("a workload lists sidecars: %v", err)
	}
	s := fanouttest.New(t, "weft-system", "policy-1")
	s.Connect(r.server.Conn(system("policy")))
	if err := s.Ended(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a control-plane service opens a config stream: %v", err)
	}
}

// TestSourcesToSidecar runs the whole service: what the sources say arrives at a sidecar, and losing them takes nothing away.
func TestSourcesToSidecar(t *testing.T) {
	m := newMesh(t, "a")
	r := m.replicas[0]
	if r.service.Ready() == nil {
		t.Error("ready before anything is known")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.service.Run(ctx) }()
	p, d, i := <-r.sources.Policy.Opened, <-r.sources.Discovery.Opened, <-r.sources.Identity.Opened
	p.Send(&policypb.WatchResponse{Reset_: true, Complete: true, Revision: intaketest.At(typepb.Source_SOURCE_POLICY, 1)})
	d.Send(&discoverypb.WatchResponse{Reset_: true, Complete: true, Revision: intaketest.At(typepb.Source_SOURCE_DISCOVERY, 1), Changes: []*discoverypb.Change{
		{Object: &discoverypb.Change_Service{Service: &discoverypb.Service{Metadata: &typepb.ObjectMeta{Namespace: "x", Name: "web"}, Spec: &discoverypb.ServiceSpec{}}}},
	}})
	i.Send(&identitypb.WatchBundlesResponse{Bundle: &identitypb.Bundle{
		TrustDomain: "weft.local", X509Authorities: [][]byte{[]byte("root")}, Revision: intaketest.At(typepb.Source_SOURCE_IDENTITY, 1),
	}})
	s := fanouttest.New(t, "x", "web-1", "x/web")
	s.Connect(r.server.Conn(account("web")))
	s.Reached(compiletest.Vector(1, 1, 1))
	if err := r.service.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	p.Cut()
	d.Cut()
	i.Cut()
	p = <-r.sources.Policy.Opened
	p.Send(&policypb.WatchResponse{Complete: true, Revision: intaketest.At(typepb.Source_SOURCE_POLICY, 2), Changes: []*policypb.Change{
		{Object: &policypb.Change_MeshConfig{MeshConfig: &policypb.MeshConfig{
			Metadata: &typepb.ObjectMeta{Namespace: "default", Name: "default"}, Spec: &policypb.MeshConfigSpec{Mtls: typepb.MtlsMode_MTLS_MODE_STRICT},
		}}},
	}})
	v := s.Reached(compiletest.Vector(2, 1, 1))
	if v.Held["mesh"].GetMesh().GetMtls() != typepb.MtlsMode_MTLS_MODE_STRICT || v.Held["service/x/web"] == nil {
		t.Errorf("holds %v", v.Held)
	}
	checkMetrics(t, r)
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// checkMetrics looks for every metric of the service in what Prometheus would read.
func checkMetrics(t *testing.T, r *replica) {
	t.Helper()
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range families {
		seen[f.GetName()] = true
	}
	for _, name := range []string{
		"weft_distributor_streams", "weft_distributor_updates_total", "weft_distributor_acks_total", "weft_distributor_nacks_total",
		"weft_distributor_propagation_seconds", "weft_distributor_compile_seconds", "weft_distributor_source_connected",
		"weft_distributor_sidecars_behind",
	} {
		if !seen[name] {
			t.Errorf("no metric %s", name)
		}
	}
}
