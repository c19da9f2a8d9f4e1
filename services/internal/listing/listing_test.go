package listing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"pgregory.net/rapid"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
)

func epoch(e string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return e, nil }
}

func field(err error) string {
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Invalid || len(f.Fields) != 1 {
		return fmt.Sprintf("not one invalid field: %v", err)
	}
	return f.Fields[0].Path + ": " + f.Fields[0].Problem
}

func self(s string) string { return s }

func any1(string) (bool, error) { return true, nil }

// Whatever comes and goes between two pages, what stays is listed once, in order.
func TestPagesSurviveChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfDistinct(rapid.StringMatching(`[a-z]{1,3}`), self)
		stay := names.Draw(t, "stay")
		p := Page{Size: int32(rapid.IntRange(1, 4).Draw(t, "size")), Query: []string{"q"}, Epoch: epoch("e")}
		var got []string
		for {
			all := append(slices.Clone(stay), names.Draw(t, "passing")...)
			slices.Sort(all)
			all = slices.Compact(all)
			page, next, err := Cut(t.Context(), all, self, any1, p)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page...)
			if next == "" {
				break
			}
			p.Token = next
		}
		if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
			t.Fatalf("%q is not in order, each once", got)
		}
		for _, name := range stay {
			if !slices.Contains(got, name) {
				t.Fatalf("%q is missing in %q", name, got)
			}
		}
	})
}

func TestTokensSayWhyTheyDoNotGoOn(t *testing.T) {
	all := []string{"a", "b", "c"}
	p := Page{Size: 1, Query: []string{"shop", "filter"}, Epoch: epoch("one")}
	_, next, err := Cut(t.Context(), all, self, any1, p)
	if err != nil || next == "" {
		t.Fatalf("%q, %v", next, err)
	}
	for _, test := range []struct {
		name string
		page Page
		want string
	}{
		{"no token", Page{Token: "x", Query: p.Query, Epoch: p.Epoch}, "pageToken: is not a token"},
		{"another filter", Page{Token: next, Query: []string{"shop", "other"}, Epoch: p.Epoch}, "pageToken: is of another list"},
		{"restored store", Page{Token: next, Query: p.Query, Epoch: epoch("two")}, "pageToken: is stale"},
		{"negative size", Page{Size: -1}, "pageSize: must not"},
	} {
		if _, _, err := Cut(t.Context(), all, self, any1, test.page); !strings.HasPrefix(field(err), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func object() *policypb.Route {
	return &policypb.Route{
		Metadata: &typepb.ObjectMeta{Name: "canary", Namespace: "shop", Labels: map[string]string{"team": "a"}},
		Spec: &policypb.RouteSpec{Service: "reviews", Rules: []*policypb.RouteRule{
			{Retry: &policypb.RetryPolicy{PerTryTimeout: nil, Attempts: 3}, Backends: []*policypb.Backend{{Service: "x", Weight: proto.Uint32(7)}}},
		}},
	}
}

func TestFilters(t *testing.T) {
	for _, test := range []struct {
		expression string
		want       bool
	}{
		{"", true},
		{`name == "canary" && ns == "shop"`, true},
		{`name.startsWith("can") && labels["team"] in ["a", "b"]`, true},
		{`labels["nothing"] == "a"`, false},
		{`!("nothing" in labels)`, true},
		{`object.spec.service == "reviews" && object.spec.rules.exists(r, r.retry.attempts > 2u)`, true},
		{`object.spec.rules[5].retry.attempts == 1u`, false},
		{`has(object.metadata.createTime)`, false},
	} {
		f, err := NewFilter(test.expression, &policypb.Route{})
		if err != nil {
			t.Errorf("%s: %v", test.expression, err)
			continue
		}
		if got, err := f.Match(t.Context(), object()); err != nil || got != test.want {
			t.Errorf("%s: %v, %v, want %v", test.expression, got, err, test.want)
		}
	}
	f, err := NewFilter(`name == "4711"`, &identitypb.AdminToken{})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := f.Match(t.Context(), &identitypb.AdminToken{Id: "4711"}); !ok || err != nil {
		t.Errorf("a token is not found by its id: %v", err)
	}
}

func TestFiltersThatAreNone(t *testing.T) {
	for expression, want := range map[string]string{
		"name ==":                      "is no expression",
		"nmae == 'x'":                  "is no expression",
		"object.spec.nothing == 'x'":   "is no expression",
		"name":                         "gives string",
		strings.Repeat("true||", 1000): "has 6000 bytes",
	} {
		if _, err := NewFilter(expression, &policypb.Route{}); !strings.HasPrefix(field(err), "filter: "+want) {
			t.Errorf("%.40s: %v", expression, err)
		}
	}
	// What is too costly is told rather than taken for false.
	f, err := NewFilter(`labels.all(a, labels.all(b, labels.all(c, labels.all(d, a != "z"))))`, &policypb.Route{})
	if err != nil {
		t.Fatal(err)
	}
	big := object()
	for i := range 40 {
		big.Metadata.Labels[fmt.Sprint(i)] = "x"
	}
	if _, err := f.Match(t.Context(), big); !strings.HasPrefix(field(err), "filter: is too costly") {
		t.Errorf("a costly filter: %v", err)
	}
}

func TestReadMask(t *testing.T) {
	for _, test := range []struct {
		paths []string
		want  *policypb.Route
	}{
		{nil, object()},
		{[]string{"metadata.name", "spec.service"}, &policypb.Route{Metadata: &typepb.ObjectMeta{Name: "canary"}, Spec: &policypb.RouteSpec{Service: "reviews"}}},
		{[]string{"metadata.name", "metadata"}, &policypb.Route{Metadata: object().GetMetadata()}},
		{[]string{"metadata.createTime"}, &policypb.Route{Metadata: &typepb.ObjectMeta{}}},
	} {
		mask, err := NewReadMask(&fieldmaskpb.FieldMask{Paths: test.paths}, &policypb.Route{})
		if err != nil {
			t.Fatal(err)
		}
		got := object()
		mask.Apply(got)
		if !proto.Equal(got, test.want) {
			t.Errorf("%q: %v, want %v", test.paths, got, test.want)
		}
	}
	for _, path := range []string{"nothing", "spec.rules.match", "metadata.labels.team", "", "spec.", "metadata.createTime.seconds"} {
		if _, err := NewReadMask(&fieldmaskpb.FieldMask{Paths: []string{path}}, &policypb.Route{}); !strings.HasPrefix(field(err), "readMask.paths[0]: ") {
			t.Errorf("%q: %v", path, err)
		}
	}
}
