package policy

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

func newService(t *testing.T, store kv.Store) *Service {
	t.Helper()
	s, err := New(Config{}, Deps{Log: zap.NewNop(), Store: store, Metrics: prometheus.NewRegistry(), Gateway: "gateway", Distributor: "distributor"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func split(name, service string, weights ...uint32) *policypb.Route {
	rule := &policypb.RouteRule{}
	for _, w := range weights {
		rule.Backends = append(rule.Backends, &policypb.Backend{Service: service, Weight: proto.Uint32(w)})
	}
	return &policypb.Route{Metadata: &typepb.ObjectMeta{Name: name}, Spec: &policypb.RouteSpec{Service: service, Rules: []*policypb.RouteRule{rule}}}
}

func allow(account string, from ...string) *policypb.AccessPolicy {
	rule := &policypb.AccessRule{}
	for _, f := range from {
		rule.From = append(rule.From, &policypb.AccessSource{Account: f})
	}
	return &policypb.AccessPolicy{
		Metadata: &typepb.ObjectMeta{Name: account},
		Spec:     &policypb.AccessPolicySpec{Destination: &policypb.AccessDestination{Account: account}, Allow: []*policypb.AccessRule{rule}},
	}
}

func TestRouteLife(t *testing.T) {
	ctx, s := t.Context(), newService(t, memkv.New())
	created := must(s.CreateRoute(ctx, &policypb.CreateRouteRequest{Route: split("canary", "reviews", 90, 10)}))(t)
	meta := created.GetRoute().GetMetadata()
	if meta.GetNamespace() != "default" || meta.GetEtag() == "" || meta.GetCreateTime() == nil || created.GetRevision().GetEpoch() == "" {
		t.Errorf("created route lacks namespace, etag, time or revision: %v", created)
	}
	next := proto.CloneOf(created.GetRoute())
	next.Spec.Rules[0].Backends[0].Weight = proto.Uint32(50)
	updated := must(s.UpdateRoute(ctx, &policypb.UpdateRouteRequest{Route: next}))(t)
	if updated.GetRevision().GetSeq() <= created.GetRevision().GetSeq() {
		t.Errorf("revisions must grow: %v then %v", created.GetRevision(), updated.GetRevision())
	}
	if _, err := s.UpdateRoute(ctx, &policypb.UpdateRouteRequest{Route: next}); !fault.Is(err, fault.Conflict) {
		t.Errorf("an old etag: want a Conflict, got %v", err)
	}
	got := must(s.GetRoute(ctx, &policypb.GetRouteRequest{Name: "canary"}))(t)
	if diff := cmp.Diff(updated.GetRoute(), got.GetRoute(), protocmp.Transform()); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
	list := must(s.ListRoutes(ctx, &policypb.ListRoutesRequest{PageSize: 1}))(t)
	if len(list.GetRoutes()) != 1 || list.GetNextPageToken() != "" {
		t.Errorf("want the one route on the last page, got %v", list)
	}
	must(s.DeleteRoute(ctx, &policypb.DeleteRouteRequest{Name: "canary", Etag: got.GetRoute().GetMetadata().GetEtag()}))(t)
	if _, err := s.GetRoute(ctx, &policypb.GetRouteRequest{Name: "canary"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("after delete: want NotFound, got %v", err)
	}
}

func TestOtherKinds(t *testing.T) {
	ctx, s := t.Context(), newService(t, memkv.New())
	a := must(s.CreateAccessPolicy(ctx, &policypb.CreateAccessPolicyRequest{AccessPolicy: allow("ratings", "reviews")}))(t).GetAccessPolicy()
	a.Spec.Allow = nil
	a = must(s.UpdateAccessPolicy(ctx, &policypb.UpdateAccessPolicyRequest{AccessPolicy: a}))(t).GetAccessPolicy()
	if got := must(s.GetAccessPolicy(ctx, &policypb.GetAccessPolicyRequest{Name: "ratings"}))(t); !proto.Equal(a, got.GetAccessPolicy()) {
		t.Errorf("want %v, got %v", a, got)
	}
	if got := must(s.ListAccessPolicies(ctx, &policypb.ListAccessPoliciesRequest{Namespace: "default"}))(t); len(got.GetAccessPolicies()) != 1 {
		t.Errorf("want one, got %v", got)
	}
	must(s.DeleteAccessPolicy(ctx, &policypb.DeleteAccessPolicyRequest{Name: "ratings"}))(t)

	c := &policypb.MeshConfig{Metadata: &typepb.ObjectMeta{Name: "default"}, Spec: &policypb.MeshConfigSpec{Mtls: typepb.MtlsMode_MTLS_MODE_STRICT}}
	c = must(s.CreateMeshConfig(ctx, &policypb.CreateMeshConfigRequest{MeshConfig: c}))(t).GetMeshConfig()
	c.Spec.Access = typepb.AccessDefault_ACCESS_DEFAULT_DENY
	must(s.UpdateMeshConfig(ctx, &policypb.UpdateMeshConfigRequest{MeshConfig: c}))(t)
	if got := must(s.GetMeshConfig(ctx, &policypb.GetMeshConfigRequest{Name: "default"}))(t); got.GetMeshConfig().GetSpec().GetAccess() != c.GetSpec().GetAccess() {
		t.Errorf("want %v, got %v", c, got)
	}
	if got := must(s.ListMeshConfigs(ctx, &policypb.ListMeshConfigsRequest{}))(t); len(got.GetMeshConfigs()) != 1 {
		t.Errorf("want one, got %v", got)
	}
	must(s.DeleteMeshConfig(ctx, &policypb.DeleteMeshConfigRequest{Name: "default"}))(t)

	e := &policypb.ExternalService{Metadata: &typepb.ObjectMeta{Name: "pay"}, Spec: &policypb.ExternalServiceSpec{Hosts: []string{"pay.example"}}}
	e = must(s.CreateExternalService(ctx, &policypb.CreateExternalServiceRequest{ExternalService: e}))(t).GetExternalService()
	e.Spec.Ports = []uint32{443}
	must(s.UpdateExternalService(ctx, &policypb.UpdateExternalServiceRequest{ExternalService: e}))(t)
	if got := must(s.GetExternalService(ctx, &policypb.GetExternalServiceRequest{Name: "pay"}))(t); len(got.GetExternalService().GetSpec().GetPorts()) != 1 {
		t.Errorf("want %v, got %v", e, got)
	}
	if got := must(s.ListExternalServices(ctx, &policypb.ListExternalServicesRequest{}))(t); len(got.GetExternalServices()) != 1 {
		t.Errorf("want one, got %v", got)
	}
	must(s.DeleteExternalService(ctx, &policypb.DeleteExternalServiceRequest{Name: "pay"}))(t)
}

func TestBadInputChangesNothing(t *testing.T) {
	ctx, s := t.Context(), newService(t, memkv.New())
	unknown := split("canary", "reviews", 1)
	unknown.Spec.Rules[0].ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01})
	for _, tc := range []struct {
		name  string
		route *policypb.Route
		path  string
	}{
		{"nothing", nil, ""},
		{"weight", split("canary", "reviews", 1, 2_000_000), "spec.rules[0].backends[1].weight"},
		{"no backends", split("canary", "reviews"), "spec.rules[0].backends"},
		{"name", split("Canary", "reviews", 1), "metadata.name"},
		{"a field of a later version", unknown, "spec.rules[0]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := s.CreateRoute(ctx, &policypb.CreateRouteRequest{Route: tc.route})
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Invalid || len(f.Fields) != 1 || f.Fields[0].Path != tc.path {
				t.Errorf("want an Invalid fault about %q, got %v", tc.path, err)
			}
		})
	}
	if got := must(s.ListRoutes(ctx, &policypb.ListRoutesRequest{}))(t); len(got.GetRoutes()) != 0 {
		t.Errorf("want nothing stored, got %v", got)
	}
}

func TestValidateOnlyStoresNothing(t *testing.T) {
	ctx, s := t.Context(), newService(t, memkv.New())
	dry := must(s.CreateRoute(ctx, &policypb.CreateRouteRequest{Route: split("a", "reviews", 1), ValidateOnly: true}))(t)
	if dry.GetRevision() != nil {
		t.Errorf("want no revision, got %v", dry.GetRevision())
	}
	stored := must(s.CreateRoute(ctx, &policypb.CreateRouteRequest{Route: split("a", "reviews", 1)}))(t).GetRoute()
	if _, err := s.CreateRoute(ctx, &policypb.CreateRouteRequest{Route: split("a", "reviews", 1), ValidateOnly: true}); !fault.Is(err, fault.Exists) {
		t.Errorf("want Exists, got %v", err)
	}
	next := split("a", "reviews", 2)
	must(s.UpdateRoute(ctx, &policypb.UpdateRouteRequest{Route: next, ValidateOnly: true}))(t)
	next.Metadata.Etag = "old"
	if _, err := s.UpdateRoute(ctx, &policypb.UpdateRouteRequest{Route: next, ValidateOnly: true}); !fault.Is(err, fault.Conflict) {
		t.Errorf("want Conflict, got %v", err)
	}
	if got := must(s.GetRoute(ctx, &policypb.GetRouteRequest{Name: "a"}))(t).GetRoute(); !proto.Equal(stored, got) {
		t.Errorf("want %v, got %v", stored, got)
	}
}

func TestSecondRouteForAServiceIsReported(t *testing.T) {
	ctx, s := t.Context(), newService(t, memkv.New())
	first := must(s.CreateRoute(ctx, &policypb.CreateRouteRequest{Route: split("a", "reviews", 1)}))(t)
	second := must(s.CreateRoute(ctx, &policypb.CreateRouteRequest{Route: split("b", "reviews", 1)}))(t)
	if len(first.GetWarnings()) != 0 || len(second.GetWarnings()) != 1 || second.GetWarnings()[0].GetField() != "spec.service" {
		t.Errorf("want a warning for the second only, got %v and %v", first.GetWarnings(), second.GetWarnings())
	}
}

// Two replicas, two writers who read, change and write back: no update is lost.
func TestTwoReplicasLoseNoUpdate(t *testing.T) {
	ctx, store := t.Context(), memkv.New()
	replicas := []*Service{newService(t, store), newService(t, store)}
	must(replicas[0].CreateRoute(ctx, &policypb.CreateRouteRequest{Route: split("a", "reviews", 0)}))(t)
	const each = 20
	var wg sync.WaitGroup
	for _, s := range replicas {
		wg.Go(func() {
			for range each {
				if err := addWeight(ctx, s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := must(replicas[1].GetRoute(ctx, &policypb.GetRouteRequest{Name: "a"}))(t).GetRoute()
	if w := got.GetSpec().GetRules()[0].GetBackends()[0].GetWeight(); w != 2*each {
		t.Errorf("want weight %d, got %d", 2*each, w)
	}
}

func addWeight(ctx context.Context, s *Service) error {
	for {
		got, err := s.GetRoute(ctx, &policypb.GetRouteRequest{Name: "a"})
		if err != nil {
			return err
		}
		b := got.GetRoute().GetSpec().GetRules()[0].GetBackends()[0]
		b.Weight = proto.Uint32(b.GetWeight() + 1)
		if _, err = s.UpdateRoute(ctx, &policypb.UpdateRouteRequest{Route: got.GetRoute()}); !fault.Is(err, fault.Conflict) {
			return err
		}
	}
}

// watching is the server's side of a stream.
type watching struct {
	grpc.ServerStream
	ctx  context.Context
	sent []*policypb.WatchResponse
}

func (w *watching) Context() context.Context { return w.ctx }
func (w *watching) Send(m *policypb.WatchResponse) error {
	w.sent = append(w.sent, m)
	return nil
}

func background(t *testing.T, run func(ctx context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// Row C7: watchers hear of every change once, and of an update that changes nothing not at all.
func TestC7_WatchersHearChangesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := t.Context(), newService(t, memkv.New())
		route := must(s.CreateRoute(ctx, &policypb.CreateRouteRequest{Route: split("a", "reviews", 1)}))(t).GetRoute()
		defer background(t, s.Run)()
		synctest.Wait()
		if err := s.Ready(); err != nil {
			t.Fatal(err)
		}
		w := &watching{}
		defer background(t, func(ctx context.Context) error { w.ctx = ctx; return s.Watch(&policypb.WatchRequest{}, w) })()
		synctest.Wait()
		for range 3 {
			must(s.UpdateRoute(ctx, &policypb.UpdateRouteRequest{Route: split("a", "reviews", 1)}))(t)
			synctest.Wait()
		}
		must(s.CreateAccessPolicy(ctx, &policypb.CreateAccessPolicyRequest{AccessPolicy: allow("ratings")}))(t)
		synctest.Wait()
		deleted := must(s.DeleteRoute(ctx, &policypb.DeleteRouteRequest{Name: "a", Etag: route.GetMetadata().GetEtag()}))(t)
		synctest.Wait()

		if len(w.sent) != 3 {
			t.Fatalf("want three steps, got %v", w.sent)
		}
		first, last := w.sent[0], w.sent[2]
		if !first.GetReset_() || !first.GetComplete() || !proto.Equal(first.GetChanges()[0].GetRoute(), route) {
			t.Errorf("first step: want a complete reset with the route, got %v", first)
		}
		if ref := last.GetChanges()[0].GetRemoved(); ref.GetKind() != "Route" || ref.GetName() != "a" || !proto.Equal(last.GetRevision(), deleted.GetRevision()) {
			t.Errorf("last step: want the removal at %v, got %v", deleted.GetRevision(), last)
		}
	})
}

func TestWatchRefusesARevisionWithoutAnEpoch(t *testing.T) {
	s := newService(t, memkv.New())
	err := s.Watch(&policypb.WatchRequest{ResumeFrom: &typepb.SourceRevision{Source: 1, Seq: 3}}, &watching{ctx: t.Context()})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("want Invalid, got %v", err)
	}
}
