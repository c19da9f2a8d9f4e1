package manifest

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
)

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func want() []Object {
	meta := func(name string) *typepb.ObjectMeta { return &typepb.ObjectMeta{Name: name, Namespace: "default"} }
	version := func(v string) map[string]string { return map[string]string{"version": v} }
	return []Object{
		&discoverypb.Service{Metadata: meta("reviews"), Spec: &discoverypb.ServiceSpec{
			Accounts: []string{"reviews"},
			Ports:    []*discoverypb.ServicePort{{Name: "http", Port: 80, TargetPort: 8080, Protocol: typepb.Protocol_PROTOCOL_HTTP}},
		}},
		&discoverypb.Workload{Metadata: meta("reviews-1"), Spec: &discoverypb.WorkloadSpec{
			Account: "reviews", Services: []string{"reviews"}, Labels: version("v1"), Address: "10.0.0.1",
			Ports: []*discoverypb.WorkloadPort{{Port: 8080}},
		}},
		&policypb.Route{Metadata: meta("reviews-canary"), Spec: &policypb.RouteSpec{Service: "reviews", Rules: []*policypb.RouteRule{
			{
				Match: []*policypb.HttpMatch{{
					Path:    &typepb.PathMatch{Kind: &typepb.PathMatch_Prefix{Prefix: "/"}},
					Headers: []*typepb.HeaderMatch{{Name: "x-beta", Kind: &typepb.HeaderMatch_Exact{Exact: "1"}}},
				}},
				Backends: []*policypb.Backend{{Service: "reviews", Labels: version("v2")}},
				Timeout:  durationpb.New(5e9),
				Retry:    &policypb.RetryPolicy{Attempts: 2, PerTryTimeout: durationpb.New(1.5e9), Statuses: []uint32{503}},
			},
			{Backends: []*policypb.Backend{
				{Service: "reviews", Labels: version("v1"), Weight: proto.Uint32(90)},
				{Service: "reviews", Labels: version("v2"), Weight: proto.Uint32(0)},
			}},
		}}},
		&policypb.AccessPolicy{Metadata: meta("ratings-callers"), Spec: &policypb.AccessPolicySpec{
			Destination: &policypb.AccessDestination{Account: "ratings"},
			Allow: []*policypb.AccessRule{{
				From: []*policypb.AccessSource{{Account: "reviews"}},
				To:   []*policypb.HttpMatch{{Methods: []string{"GET"}, Path: &typepb.PathMatch{Kind: &typepb.PathMatch_Prefix{Prefix: "/ratings/"}}}},
			}},
		}},
		&policypb.MeshConfig{Metadata: meta("default"), Spec: &policypb.MeshConfigSpec{
			Mtls: typepb.MtlsMode_MTLS_MODE_STRICT, Access: typepb.AccessDefault_ACCESS_DEFAULT_DENY,
			Balancing:   typepb.Balancing_BALANCING_ROUND_ROBIN,
			RetryBudget: &policypb.RetryBudget{Percent: 10, MinPerSecond: 5},
		}},
	}
}

func TestParse(t *testing.T) {
	for _, name := range []string{"all.yaml", "all.json"} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(read(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want(), got, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	text, err := YAML(want()...)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if diff := cmp.Diff(want(), got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, o := range want() {
		text, err := JSON(o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(text)
		if err != nil || len(got) != 1 || !proto.Equal(o, got[0]) {
			t.Errorf("want %v, got %v, %v", o, got, err)
		}
	}
}

func TestYAMLReadsWell(t *testing.T) {
	got, err := YAML(want()[2])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(read(t, "route.yaml")), string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

const head = "apiVersion: weft.dev/v1alpha1\n"

func TestBadManifests(t *testing.T) {
	route := func(spec string) string { return head + "kind: Route\nmetadata: {name: r}\nspec: " + spec }
	const at = "Route default/r: "
	for _, tc := range []struct{ name, text, path, problem string }{
		{"unknown kind", head + "kind: Root\nmetadata: {name: r}", "Root default/r: kind", "must be one of AccessPolicy"},
		{"no kind", head + "metadata: {name: r}", "document 1: kind", "must be one of"},
		{"other version", "apiVersion: v1\nkind: Route\nmetadata: {name: r}", at + "apiVersion", "must be weft.dev/v1alpha1"},
		{"unknown field", route("{service: a, ruels: []}"), at + "spec.ruels", "allowed: service, rules"},
		{"unknown field below", route("{rules: [{}, {backends: [{service: a, wait: 1}]}]}"), at + "spec.rules[1].backends[0].wait", "allowed: service, labels, weight"},
		{"unknown field at the top", route("{}") + "\nextra: 1", at + "extra", "allowed: metadata, spec"},
		{"negative weight", route("{rules: [{backends: [{service: a}, {service: b, weight: -1}]}]}"), at + "spec.rules[0].backends[1].weight", "is -1; must be a whole number from 0 to 4294967295"},
		{"fraction", route("{rules: [{backends: [{weight: 1.5}]}]}"), at + "spec.rules[0].backends[0].weight", "whole number"},
		{"huge", route("{rules: [{backends: [{weight: 99999999999999999999}]}]}"), at + "spec.rules[0].backends[0].weight", "whole number"},
		{"text for a number", route("{rules: [{backends: [{weight: \"1\"}]}]}"), at + "spec.rules[0].backends[0].weight", "whole number"},
		{"number for a text", route("{service: 1}"), at + "spec.service", "must be text"},
		{"number for a label", route("{rules: [{backends: [{labels: {version: 2}}]}]}"), at + "spec.rules[0].backends[0].labels[version]", "must be text"},
		{"object for a list", route("{rules: {}}"), at + "spec.rules", "must be a list"},
		{"list for an object", route("[]"), at + "spec", "must be an object"},
		{"list for labels", route("{rules: [{backends: [{labels: []}]}]}"), at + "spec.rules[0].backends[0].labels", "must be an object"},
		{"two ways to compare", route("{rules: [{match: [{path: {exact: /, prefix: /}}]}]}"), at + "spec.rules[0].match[0].path.prefix", "exactly one"},
		{"two spellings", route("{rules: [{retry: {perTryTimeout: 1s, per_try_timeout: 1s}}]}"), at + "spec.rules[0].retry.per_try_timeout", "twice"},
		{"duration", route("{rules: [{timeout: 5}]}"), at + "spec.rules[0].timeout", "for example 5s"},
		{"not true or false", route("{rules: [{match: [{headers: [{name: a, present: maybe}]}]}]}"), at + "spec.rules[0].match[0].headers[0].present", "true or false"},
		{"empty value", route("{rules: [{match: }]}"), at + "spec.rules[0].match", "leave it out"},
		{"enum", head + "kind: MeshConfig\nmetadata: {name: default}\nspec: {mtls: on}", "MeshConfig default/default: spec.mtls", "one of off, permissive, strict"},
		{"time", head + "kind: Route\nmetadata: {name: r, createTime: soon}", at + "metadata.createTime", "RFC 3339"},
		{"broken YAML", "a: [", "document 1", "is not YAML"},
		{"key twice", head + "kind: Route\nkind: Route", "document 1", "already defined"},
		{"not an object", "- a", "document 1", "must be an object"},
		{"list without items", head + "kind: List", "document 1: items", "list of objects"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse([]byte(tc.text))
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Invalid || len(f.Fields) != 1 {
				t.Fatalf("want an Invalid fault with one field, got %v", err)
			}
			if got := f.Fields[0]; got.Path != tc.path || !strings.Contains(got.Problem, tc.problem) {
				t.Errorf("want %q about %q, got %q about %q", tc.problem, tc.path, got.Problem, got.Path)
			}
		})
	}
}

// Row C10: a broken object hides no other one, in whatever order.
func TestC10_BrokenObjectsHideNoOther(t *testing.T) {
	good := func(name string) string { return head + "kind: Service\nmetadata: {name: " + name + "}\n---\n" }
	parsed := ParseEach([]byte("---\n" + good("a") + head + "kind: Service\nmetadata: {name: b}\nspec: {port: 1}\n---\n" + good("c")))
	var got []string
	for _, p := range parsed {
		got = append(got, p.Key.Name)
		if broken := p.Err != nil; broken != (p.Key.Name == "b") || broken != (p.Object == nil) {
			t.Errorf("object %q: %v", p.Key.Name, p.Err)
		}
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEverythingWrongIsSaidAtOnce(t *testing.T) {
	_, err := Parse([]byte(head + "kind: Route\nmetadata: {name: a}\nspec: {x: 1, y: 2}\n---\n" + head + "kind: Nothing\nmetadata: {name: b}"))
	var f *fault.Error
	if !errors.As(err, &f) || len(f.Fields) != 3 {
		t.Errorf("want three fields, got %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"all.yaml", "all.json", "route.yaml"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("? [1]\n: 2"))
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := Parse(data)
		if err != nil {
			return
		}
		text, err := YAML(objects...)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(text)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, text)
		}
		second, err := YAML(again...)
		if diff := cmp.Diff(string(text), string(second)); err != nil || diff != "" {
			t.Errorf("%v (-first +again):\n%s", err, diff)
		}
	})
}
