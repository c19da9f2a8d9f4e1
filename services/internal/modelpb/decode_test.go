package modelpb

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
)

func TestWhatTheModelCannotHoldIsInvalid(t *testing.T) {
	ruleWith := func(r *policypb.RouteRule) *policypb.Route {
		return &policypb.Route{Spec: &policypb.RouteSpec{Rules: []*policypb.RouteRule{r}}}
	}
	match := func(m *policypb.HttpMatch) *policypb.Route {
		return ruleWith(&policypb.RouteRule{Match: []*policypb.HttpMatch{m}})
	}
	routeErr := func(p *policypb.Route) error { _, err := RouteFromProto(p); return err }
	serviceErr := func(p *discoverypb.Service) error { _, err := ServiceFromProto(p); return err }
	workloadErr := func(p *discoverypb.Workload) error { _, err := WorkloadFromProto(p); return err }
	configErr := func(p *policypb.MeshConfigSpec) error {
		_, err := MeshConfigFromProto(&policypb.MeshConfig{Spec: p})
		return err
	}
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"no route", routeErr(nil), ""},
		{"no service", serviceErr(nil), ""},
		{"port", serviceErr(&discoverypb.Service{Spec: &discoverypb.ServiceSpec{Ports: []*discoverypb.ServicePort{{Port: 70000}}}}), "spec.ports[0].port"},
		{"protocol", serviceErr(&discoverypb.Service{Spec: &discoverypb.ServiceSpec{Ports: []*discoverypb.ServicePort{{Protocol: 99}}}}), "spec.ports[0].protocol"},
		{"negative enum", configErr(&policypb.MeshConfigSpec{Mtls: -1}), "spec.mtls"},
		{"access", configErr(&policypb.MeshConfigSpec{Access: 7}), "spec.access"},
		{"egress", configErr(&policypb.MeshConfigSpec{Egress: 3}), "spec.egress"},
		{"balancing", configErr(&policypb.MeshConfigSpec{Balancing: 300}), "spec.balancing"},
		{"address", workloadErr(&discoverypb.Workload{Spec: &discoverypb.WorkloadSpec{Address: "host"}}), "spec.address"},
		{"zone", workloadErr(&discoverypb.Workload{Spec: &discoverypb.WorkloadSpec{Address: "fe80::1%eth0"}}), "spec.address"},
		{"mesh port", workloadErr(&discoverypb.Workload{Spec: &discoverypb.WorkloadSpec{MeshPort: 1 << 20}}), "spec.meshPort"},
		{"state", workloadErr(&discoverypb.Workload{Status: &discoverypb.WorkloadStatus{State: 9}}), "status.state"},
		{"time", workloadErr(&discoverypb.Workload{Metadata: &typepb.ObjectMeta{CreateTime: &timestamppb.Timestamp{Nanos: -1}}}), "metadata.createTime"},
		{"zero timeout", routeErr(ruleWith(&policypb.RouteRule{Timeout: &durationpb.Duration{}})), "spec.rules[0].timeout"},
		{"broken timeout", routeErr(ruleWith(&policypb.RouteRule{Timeout: &durationpb.Duration{Seconds: 1, Nanos: -1}})), "spec.rules[0].timeout"},
		{"per try", routeErr(ruleWith(&policypb.RouteRule{Retry: &policypb.RetryPolicy{PerTryTimeout: durationpb.New(-1)}})), "spec.rules[0].retry.perTryTimeout"},
		{"path", routeErr(match(&policypb.HttpMatch{Path: &typepb.PathMatch{}})), "spec.rules[0].match[0].path"},
		{"header", routeErr(match(&policypb.HttpMatch{Headers: []*typepb.HeaderMatch{{Name: "a"}}})), "spec.rules[0].match[0].headers[0]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var f *fault.Error
			if !errors.As(tc.err, &f) || f.Kind != fault.Invalid || len(f.Fields) != 1 {
				t.Fatalf("want an Invalid fault with one field, got %v", tc.err)
			}
			if diff := cmp.Diff(tc.want, f.Fields[0].Path); diff != "" {
				t.Errorf("path (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	r, err := RouteFromProto(&policypb.Route{
		Metadata: &typepb.ObjectMeta{Name: "r"},
		Spec:     &policypb.RouteSpec{Rules: []*policypb.RouteRule{{Backends: []*policypb.Backend{{Service: "s"}, nil}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Namespace != "default" {
		t.Errorf("namespace: want default, got %q", r.Namespace)
	}
	if got := r.Rules[0].Backends[0].Weight; got != 1 {
		t.Errorf("weight: want 1, got %d", got)
	}
}

func TestRevisionsSayWhoseTheyAre(t *testing.T) {
	for _, bad := range []*typepb.SourceRevision{{}, {Source: 1}, {Epoch: "e"}, {Source: 9, Epoch: "e"}} {
		if _, err := RevisionFromProto(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: want an Invalid fault, got %v", bad, err)
		}
	}
	if r, err := RevisionFromProto(nil); err != nil || r.Epoch != "" {
		t.Errorf("nil: want nothing seen, got %v, %v", r, err)
	}
}
