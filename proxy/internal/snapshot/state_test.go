package snapshot

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

func TestTableOfAFullUpdate(t *testing.T) {
	tab := applied(t, New(owner()), full(t)).Table(4)
	if tab.Sequence != 4 || tab.Mesh.MTLS != table.Permissive || tab.Mesh.Retry != (table.RetryBudget{Percent: 30, MinPerSecond: 5}) {
		t.Errorf("mesh: %+v, sequence %d", tab.Mesh, tab.Sequence)
	}
	if tab.Inbound == nil || tab.Inbound.Ports[0] != (table.InboundPort{Service: "default/web", Port: 80, TargetPort: 8080, Protocol: table.HTTP}) {
		t.Errorf("inbound: %+v", tab.Inbound)
	}
	if tab.Access == nil || len(tab.Access.Rules) != 1 || tab.Access.Open {
		t.Errorf("access: %+v", tab.Access)
	}
	svc := tab.Services["default/reviews"]
	if svc == nil || svc.Balancing != table.LeastRequest || svc.Route != "default/canary" {
		t.Fatalf("service: %+v", svc)
	}
	if len(svc.Rules) != 2 {
		t.Fatalf("rules: want the route's and the default, got %d", len(svc.Rules))
	}
	var got []string
	for _, b := range svc.Rules[0].Backends {
		line := b.Service + " none"
		if b.Set != nil {
			line = b.Set.Key
			for _, e := range b.Set.Endpoints {
				line += " " + e.Key + " " + e.Version
			}
		}
		got = append(got, line)
	}
	want := []string{
		"default/reviews{version=v1} default/reviews-1 127.0.0.1:15008/8080 v1",
		"default/reviews{version=v2} default/reviews-2 127.0.0.1:15009/8080 v2",
		"default/gone none",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("backends (-want +got):\n%s", diff)
	}
	if svc.Rules[0].TotalWeight != 101 {
		t.Errorf("total weight: want 101, got %d", svc.Rules[0].TotalWeight)
	}
	last := svc.Rules[1]
	if len(last.Matches) != 0 || last.TotalWeight != 1 || len(last.Backends[0].Set.Endpoints) != 2 {
		t.Errorf("default rule: %+v", last)
	}
}

func TestSetsAreSharedAndEndpointsSurviveOtherChanges(t *testing.T) {
	s := applied(t, New(owner()), full(t))
	before := s.Table(1).Services["default/reviews"]
	s = applied(t, s, &configpb.Update{Resources: []*configpb.Resource{serviceResource("s2", &configpb.Service{Name: "default/reviews"})}})
	after := s.Table(2).Services["default/reviews"]
	if before.Rules[1].Backends[0].Set.Endpoints[0] != after.Rules[0].Backends[0].Set.Endpoints[0] {
		t.Error("an endpoint was made anew although its resource did not change")
	}
}

func TestEndpointsThatMayNotBeUsedAreLeftOut(t *testing.T) {
	draining, foreign := endpoint("draining", 1, nil), endpoint("foreign", 2, nil)
	draining.Draining = true
	foreign.Id = "spiffe://weft.local/ns/default/sa/mallory"
	plain := &configpb.Endpoint{Workload: "plain", Address: []byte{10, 0, 0, 1}, TargetPort: 80}
	s := applied(t, New(owner()), &configpb.Update{Resources: []*configpb.Resource{
		serviceResource("1", &configpb.Service{Name: "default/reviews"}),
		endpointsResource("1", "default/reviews", draining, foreign, endpoint("good", 3, nil), plain),
	}})
	var got []string
	for _, e := range s.Table(1).Services["default/reviews"].Rules[0].Backends[0].Set.Endpoints {
		got = append(got, e.Workload)
	}
	if diff := cmp.Diff([]string{"default/good", "default/plain"}, got); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
}

func TestARefusedResourceHurtsOnlyItself(t *testing.T) {
	s := applied(t, New(owner()), full(t))
	bad := serviceResource("s2", &configpb.Service{Name: "default/reviews", Rules: []*configpb.RouteRule{{
		Matches: []*configpb.Match{{Path: &typepb.PathMatch{Kind: &typepb.PathMatch_Regex{Regex: "("}}}},
	}}})
	next, nacks := s.Apply(&configpb.Update{Resources: []*configpb.Resource{bad, inboundResource("i2")}})
	if len(nacks) != 1 || nacks[0].GetResource() != "service/default/reviews" || nacks[0].GetVersion() != "s2" {
		t.Fatalf("nacks: %v", nacks)
	}
	if got := next.Versions(); got["service/default/reviews"] != "s1" || got["inbound"] != "i2" {
		t.Errorf("versions: %v", got)
	}
	if len(next.Table(1).Services["default/reviews"].Rules) != 2 {
		t.Error("the last good route did not stay")
	}
	if len(next.Refused()) != 1 {
		t.Errorf("refused: %v", next.Refused())
	}
	healed := applied(t, next, &configpb.Update{Resources: []*configpb.Resource{serviceResource("s3", &configpb.Service{Name: "default/reviews"})}})
	if len(healed.Refused()) != 0 {
		t.Errorf("refused after healing: %v", healed.Refused())
	}
}

func TestAccessIsNeverGuessed(t *testing.T) {
	strange := protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1)
	deep := &configpb.Access{Rules: []*configpb.AccessRule{{Matches: []*configpb.Match{{Path: &typepb.PathMatch{}}}}}}
	deep.Rules[0].Matches[0].Path.ProtoReflect().SetUnknown(strange)
	rule := &configpb.Access{Rules: []*configpb.AccessRule{{}}}
	rule.Rules[0].ProtoReflect().SetUnknown(strange)
	tests := map[string]*configpb.Access{
		"unknown field deep inside": deep,
		"unknown field of a rule":   rule,
		"open with rules":           {Open: true, Rules: []*configpb.AccessRule{{}}},
		"prefix without end":        {Rules: []*configpb.AccessRule{{IdPrefixes: []string{"spiffe://weft.local/ns/a"}}}},
		"bad id":                    {Rules: []*configpb.AccessRule{{Ids: []string{"reviews"}}}},
		"match of unknown kind":     {Rules: []*configpb.AccessRule{{Matches: []*configpb.Match{{Path: &typepb.PathMatch{}}}}}},
	}
	for name, access := range tests {
		t.Run(name, func(t *testing.T) {
			s, nacks := New(owner()).Apply(&configpb.Update{Resources: []*configpb.Resource{accessResource("1", access)}})
			if len(nacks) != 1 {
				t.Fatal("it was accepted")
			}
			if s.Table(1).Access != nil {
				t.Error("a table has access rules although none were ever good")
			}
			good := applied(t, New(owner()), &configpb.Update{Resources: []*configpb.Resource{accessResource("0", &configpb.Access{Open: true})}})
			s, _ = good.Apply(&configpb.Update{Resources: []*configpb.Resource{accessResource("1", access)}})
			if a := s.Table(1).Access; a == nil || !a.Open {
				t.Error("the last good access rules did not stay")
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	named := func(name string, r *configpb.Resource) *configpb.Resource { r.Name = name; return r }
	backends := func(b ...*configpb.Backend) *configpb.Resource {
		return serviceResource("1", &configpb.Service{Name: "a/b", Rules: []*configpb.RouteRule{{Backends: b}}})
	}
	huge := uint32(1<<32 - 1)
	tests := []struct {
		name     string
		resource *configpb.Resource
		want     string
	}{
		{"no body", &configpb.Resource{Name: "new", Version: "1"}, "older than the control plane"},
		{"no version", meshResource(""), "no version"},
		{"wrong name", named("service/a/b", meshResource("1")), `holds "mesh"`},
		{"foreign mesh", &configpb.Resource{Name: "mesh", Version: "1", Body: &configpb.Resource_Mesh{Mesh: &configpb.Mesh{TrustDomain: "other"}}}, `"other"`},
		{"unknown mode", &configpb.Resource{Name: "mesh", Version: "1", Body: &configpb.Resource_Mesh{Mesh: &configpb.Mesh{TrustDomain: "weft.local", Mtls: 9}}}, "mtls"},
		{"foreign inbound", &configpb.Resource{Name: "inbound", Version: "1", Body: &configpb.Resource_Inbound{Inbound: &configpb.Inbound{Namespace: "default", Workload: "other"}}}, "default/other"},
		{"empty bundle", &configpb.Resource{Name: "bundle", Version: "1", Body: &configpb.Resource_Bundle{Bundle: &configpb.TrustBundle{TrustDomain: "weft.local"}}}, "x509_authorities"},
		{"service without namespace", serviceResource("1", &configpb.Service{Name: "a"}), "namespace/name"},
		{"port 0", serviceResource("1", &configpb.Service{Name: "a/b", Ports: []*configpb.ServicePort{{}}}), "ports[0].port"},
		{"negative timeout", serviceResource("1", &configpb.Service{Name: "a/b", Rules: []*configpb.RouteRule{{Timeout: durationpb.New(-time.Second)}}}), "timeout"},
		{"weights overflow", backends(&configpb.Backend{Service: "a/b", Weight: huge}, &configpb.Backend{Service: "a/c", Weight: 1}), "backends[1].weight"},
		{"endpoint without address", endpointsResource("1", "a/b", &configpb.Endpoint{Workload: "w", TargetPort: 1}), "address"},
		{"meshed endpoint without id", endpointsResource("1", "a/b", &configpb.Endpoint{Workload: "w", Address: []byte{1, 2, 3, 4}, MeshPort: 1, TargetPort: 1}), "id"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, nacks := New(owner()).Apply(&configpb.Update{Resources: []*configpb.Resource{tt.resource}})
			if len(nacks) != 1 || !strings.Contains(nacks[0].GetError(), tt.want) {
				t.Errorf("want a refusal with %q, got %v", tt.want, nacks)
			}
		})
	}
}

func TestUnspecifiedModeOpensNothing(t *testing.T) {
	s := applied(t, New(owner()), &configpb.Update{Resources: []*configpb.Resource{
		{Name: "mesh", Version: "1", Body: &configpb.Resource_Mesh{Mesh: &configpb.Mesh{TrustDomain: "weft.local"}}},
	}})
	if got := s.Table(1).Mesh.MTLS; got != table.Strict {
		t.Errorf("want strict, got %d", got)
	}
}

func TestNeverBackwards(t *testing.T) {
	s := applied(t, New(owner()), &configpb.Update{Vector: vector(rev(typepb.Source_SOURCE_POLICY, "p", 7), rev(typepb.Source_SOURCE_DISCOVERY, "d", 5))})
	tests := []struct {
		name string
		next *typepb.RevisionVector
		ok   bool
	}{
		{"nothing", nil, true},
		{"the same", vector(rev(typepb.Source_SOURCE_POLICY, "p", 7)), true},
		{"forward", vector(rev(typepb.Source_SOURCE_POLICY, "p", 8)), true},
		{"restored store", vector(rev(typepb.Source_SOURCE_POLICY, "q", 1)), true},
		{"back", vector(rev(typepb.Source_SOURCE_POLICY, "p", 6)), false},
		{"one forward, one back", vector(rev(typepb.Source_SOURCE_POLICY, "p", 9), rev(typepb.Source_SOURCE_DISCOVERY, "d", 4)), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := s.CheckForward(tt.next); (err == nil) != tt.ok {
				t.Errorf("want ok %v, got %v", tt.ok, err)
			}
		})
	}
	merged := applied(t, s, &configpb.Update{Vector: vector(rev(typepb.Source_SOURCE_DISCOVERY, "d", 6))}).Vector()
	if len(merged.GetRevisions()) != 2 || merged.GetRevisions()[0].GetSeq() != 7 || merged.GetRevisions()[1].GetSeq() != 6 {
		t.Errorf("merged vector: %v", merged)
	}
}

func TestDigestFollowsWhatWasSent(t *testing.T) {
	s := applied(t, New(owner()), &configpb.Update{Resources: []*configpb.Resource{meshResource("m1"), inboundResource("i1")}})
	want := sha256.Sum256([]byte("inbound\x00i1\nmesh\x00m1\n"))
	if string(s.Digest()) != string(want[:8]) {
		t.Errorf("digest: want %x, got %x", want[:8], s.Digest())
	}
	bad := &configpb.Resource{Name: "mesh", Version: "m2"}
	s, _ = s.Apply(&configpb.Update{Resources: []*configpb.Resource{bad}, Removed: []string{"inbound"}})
	want = sha256.Sum256([]byte("mesh\x00m2\n"))
	if string(s.Digest()) != string(want[:8]) {
		t.Errorf("a refused resource must count as sent: want %x, got %x", want[:8], s.Digest())
	}
	want = sha256.Sum256([]byte("mesh\x00m1\n"))
	if got := s.Reopened().Digest(); string(got) != string(want[:8]) {
		t.Errorf("on a new stream: want %x, got %x", want[:8], got)
	}
}

// TestD6_EndpointSetsAreEqual: whatever sequence of changes arrives, the table has exactly the endpoints that were last sent.
func TestD6_EndpointSetsAreEqual(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, model := New(owner()), map[string]map[string]bool{}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			service := rapid.SampledFrom([]string{"default/reviews", "default/ratings"}).Draw(rt, "service")
			if rapid.Bool().Draw(rt, "remove") {
				s, _ = s.Apply(&configpb.Update{Removed: []string{"service/" + service, "endpoints/" + service}})
				delete(model, service)
				continue
			}
			var endpoints []*configpb.Endpoint
			model[service] = map[string]bool{}
			for _, n := range rapid.SliceOfNDistinct(rapid.Uint32Range(1, 9), 0, 6, rapid.ID).Draw(rt, "endpoints") {
				e := endpoint("w", n, nil)
				e.Draining = rapid.Bool().Draw(rt, "draining")
				if endpoints = append(endpoints, e); !e.Draining {
					model[service][e.GetWorkload()+string(rune('0'+n))] = true
				}
			}
			var nacks []*configpb.Nack
			s, nacks = s.Apply(&configpb.Update{Resources: []*configpb.Resource{
				endpointsResource("1", service, endpoints...), serviceResource("1", &configpb.Service{Name: service}),
			}})
			if len(nacks) > 0 {
				rt.Fatalf("refused: %v", nacks)
			}
		}
		got := map[string]map[string]bool{}
		for name, svc := range s.Table(1).Services {
			got[name] = map[string]bool{}
			for _, e := range svc.Rules[0].Backends[0].Set.Endpoints {
				got[name]["w"+string(rune('0'+e.MeshPort))] = true
			}
		}
		if diff := cmp.Diff(model, got); diff != "" {
			rt.Fatalf("endpoints (-want +got):\n%s", diff)
		}
	})
}

func TestE7_WorkloadMayBeStricterThanItsMesh(t *testing.T) {
	strict := owner()
	strict.Strict = true
	for mode, want := range map[typepb.MtlsMode]table.MTLSMode{
		typepb.MtlsMode_MTLS_MODE_OFF: table.Off, typepb.MtlsMode_MTLS_MODE_PERMISSIVE: table.Permissive, typepb.MtlsMode_MTLS_MODE_STRICT: table.Strict,
	} {
		mesh := meshResource("1")
		mesh.GetMesh().Mtls = mode
		u := &configpb.Update{Resources: []*configpb.Resource{mesh}}
		if got := applied(t, New(owner()), u).Table(1).Mesh.MTLS; got != want {
			t.Errorf("%v: got %v", mode, got)
		}
		if got := applied(t, New(strict), u).Table(1).Mesh; got.MTLS != table.Strict || got.Retry.Percent != 30 {
			t.Errorf("%v, and a strict workload: got %+v", mode, got)
		}
	}
}
