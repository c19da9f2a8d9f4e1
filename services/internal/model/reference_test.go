package model

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUnresolvedReferences(t *testing.T) {
	r, w := goodRoute(), goodWorkload()
	exists := func(kind string, key Key) bool { return kind == KindService && key.Name == "reviews" }
	var got []string
	for _, v := range append(Unresolved(r.References(), exists), Unresolved(w.References(), exists)...) {
		got = append(got, v.Path)
	}
	if diff := cmp.Diff([]string{"spec.rules[0].backends[1].service"}, got); diff != "" {
		t.Errorf("unresolved (-want +got):\n%s", diff)
	}
}

// TestUnresolvedSaysWhatFails: a call to a service that is not there finds no route, one to a backend that is not there no backend.
func TestUnresolvedSaysWhatFails(t *testing.T) {
	r := Route{Meta: meta("a"), Service: "s", Rules: []RouteRule{{Backends: []Backend{{Service: "b"}}}}}
	w := Workload{Meta: meta("w"), Services: []string{"s"}}
	nothing := func(string, Key) bool { return false }
	var got []string
	for _, v := range append(Unresolved(r.References(), nothing), Unresolved(w.References(), nothing)...) {
		got = append(got, v.Problem)
	}
	want := []string{
		`there is no Service "default/s"; traffic for it fails with no_route until there is`,
		`there is no Service "default/b"; traffic for it fails with no_backend until there is`,
		`there is no Service "default/s"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestTheOldestRouteHolds(t *testing.T) {
	day := time.Unix(1000, 0)
	at := func(name, service string, created time.Time) Route {
		r := Route{Meta: meta(name), Service: service}
		r.CreateTime = created
		return r
	}
	young, old, twin := at("a", "s", day.Add(time.Hour)), at("z", "s", day), at("b", "s", day)
	other := at("c", "t", day)
	if !old.Precedes(&young) || young.Precedes(&old) || !twin.Precedes(&old) {
		t.Error("the older route must win, then the lower name")
	}
	if got := young.Overlaps([]Route{young, other}); got != nil {
		t.Errorf("no rival: want nothing, got %v", got)
	}
	got := young.Overlaps([]Route{young, old, twin, other})
	if len(got) != 1 || got[0].Path != "spec.service" {
		t.Fatalf("want one warning about spec.service, got %v", got)
	}
}

func TestAdmits(t *testing.T) {
	s := goodService()
	for _, tc := range []struct {
		namespace, account string
		want               bool
	}{{"default", "reviews", true}, {"blue", "reviews", true}, {"red", "reviews", false}, {"default", "x", false}, {"blue", "blue/reviews", false}} {
		if got := s.Admits(tc.namespace, tc.account); got != tc.want {
			t.Errorf("%s/%s: want %v, got %v", tc.namespace, tc.account, tc.want, got)
		}
	}
}

func TestIdleAccessIsSaid(t *testing.T) {
	someone := AccessRule{From: []AccessSource{{Account: "web"}}}
	for name, tc := range map[string]struct {
		allow []AccessRule
		want  []string
	}{
		"no rule":          {nil, []string{"spec.allow"}},
		"a rule for all":   {[]AccessRule{someone}, nil},
		"one without from": {[]AccessRule{someone, {}}, []string{"spec.allow[1].from"}},
	} {
		var got []string
		for _, v := range (&AccessPolicy{Account: "ratings", Allow: tc.allow}).Idle() {
			got = append(got, v.Path)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: warned about %q, want %q", name, got, tc.want)
		}
	}
}
