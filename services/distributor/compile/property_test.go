package compile_test

import (
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/distributor/compile/compiletest"
	"github.com/weft-mesh/weft/services/internal/model"
)

// names are few, so that objects refer to each other often.
var names = []string{"a", "b", "c", "d"}

func anyName(t *rapid.T) string { return rapid.SampledFrom(names).Draw(t, "name") }

func anyNames(t *rapid.T) []string {
	return rapid.SliceOfN(rapid.SampledFrom(names), 0, 3).Draw(t, "names")
}

func anyMeta(t *rapid.T) model.Meta {
	return model.Meta{
		Key:        model.Key{Namespace: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "ns"), Name: anyName(t)},
		Etag:       rapid.SampledFrom([]string{"1", "2"}).Draw(t, "etag"),
		CreateTime: time.Unix(rapid.Int64Range(1, 3).Draw(t, "created"), 0),
	}
}

// next is a world with one object put, removed or repeated; the world before is not written.
func next(t *rapid.T, w compile.World) *compile.World {
	w.Vector.Policy.Seq++
	m := anyMeta(t)
	gone := rapid.IntRange(0, 3).Draw(t, "gone") == 0
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0:
		w.Services = set(w.Services, m.Key, gone, &model.Service{Meta: m, Accounts: anyNames(t), Ports: anyPorts(t)})
	case 1, 2:
		w.Workloads = set(w.Workloads, m.Key, gone, anyWorkload(t, m))
	case 3:
		r := &model.Route{Meta: m, Service: anyName(t)}
		for range rapid.IntRange(0, 2).Draw(t, "rules") {
			r.Rules = append(r.Rules, model.RouteRule{Backends: []model.Backend{{Service: anyName(t), Weight: 1}, {Service: anyName(t)}}})
		}
		w.Routes = set(w.Routes, m.Key, gone, r)
	case 4:
		p := &model.AccessPolicy{Meta: m, Account: anyName(t)}
		for _, from := range anyNames(t) {
			p.Allow = append(p.Allow, model.AccessRule{From: []model.AccessSource{{Account: from}}})
		}
		w.Policies = set(w.Policies, m.Key, gone, p)
	case 5:
		w.Mesh = &model.MeshConfig{
			Meta: m, Access: model.AccessDefault(rapid.IntRange(0, 2).Draw(t, "access")),
			MTLS: model.MTLSMode(rapid.IntRange(0, 3).Draw(t, "mtls")), Egress: model.EgressMode(rapid.IntRange(0, 2).Draw(t, "egress")),
		}
		if gone {
			w.Mesh = nil
		}
	case 6:
		w.Bundle = &compile.Bundle{TrustDomain: rapid.SampledFrom([]string{"one", "two"}).Draw(t, "td"), Authorities: [][]byte{[]byte(m.Etag)}}
	case 7:
		w.Externals = set(w.Externals, m.Key, gone, &model.ExternalService{Meta: m, Hosts: anyNames(t), Ports: []uint16{443}})
	}
	return &w
}

func anyPorts(t *rapid.T) []model.ServicePort {
	var out []model.ServicePort
	for i := range rapid.IntRange(0, 2).Draw(t, "ports") {
		out = append(out, model.ServicePort{Port: uint16(80 + i), TargetPort: uint16(rapid.IntRange(0, 1).Draw(t, "target"))})
	}
	return out
}

func anyWorkload(t *rapid.T, m model.Meta) *model.Workload {
	return &model.Workload{
		Meta:     m,
		Account:  anyName(t),
		Services: anyNames(t),
		Address:  netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(1, 2).Draw(t, "address"))}),
		MeshPort: uint16(rapid.IntRange(0, 1).Draw(t, "mesh")),
		Ports:    []model.WorkloadPort{{Port: 8080}},
		State:    model.WorkloadState(rapid.IntRange(1, 3).Draw(t, "state")),
	}
}

func set[T any](m map[model.Key]*T, k model.Key, gone bool, v *T) map[model.Key]*T {
	m = maps.Clone(m)
	if m == nil {
		m = map[model.Key]*T{}
	}
	if gone {
		delete(m, k)
	} else {
		m[k] = v
	}
	return m
}

// TestStepsEqualFullCompile compiles a history of worlds step by step, some steps left out, and every world on its own: what
// comes out is the same, and Diff names exactly what differs.
func TestStepsEqualFullCompile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &compile.World{Bundle: &compile.Bundle{TrustDomain: "one"}}
		state := compile.Next(nil, w)
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			for range rapid.IntRange(1, 3).Draw(t, "together") {
				w = next(t, *w)
			}
			stepped := compile.Next(state, w)
			full := compile.Next(nil, w)
			want, got := compiletest.Versions(full, w), compiletest.Versions(stepped, w)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("stepped differs from full (-full +stepped):\n%s\n%s", diff, compiletest.Dump(full, w))
			}
			if diff := cmp.Diff(compiletest.Dump(full, w), compiletest.Dump(stepped, w)); diff != "" {
				t.Fatalf("content differs (-full +stepped):\n%s", diff)
			}
			checkDiff(t, state, stepped, compile.Diff(state, stepped))
			if !compile.Diff(full, stepped).Empty() {
				t.Fatal("Diff sees a difference between a full and a stepped compilation")
			}
			state = stepped
		}
	})
}

// checkDiff compares Diff with the versions that a sidecar would see.
func checkDiff(t *rapid.T, before, now *compile.State, c *compile.Changes) {
	if before.Egress().Version != now.Egress().Version && !c.Everyone {
		t.Fatal("egress changed unnoticed")
	}
	for last := range byte(4) {
		a := netip.AddrFrom4([4]byte{10, 0, 0, last})
		if before.Address(a).Version != now.Address(a).Version && !c.Addresses[a] {
			t.Fatalf("address %s changed unnoticed", a)
		}
	}
	for _, ns := range []string{"x", "y"} {
		for _, n := range names {
			k := model.Key{Namespace: ns, Name: n}
			a := compile.Account{Namespace: ns, Name: n}
			same(t, "service "+k.String(), before.Service(k), now.Service(k), c.Services[k])
			same(t, "endpoints "+k.String(), before.Endpoints(k), now.Endpoints(k), c.Endpoints[k])
			same(t, "inbound "+k.String(), before.Inbound(k, ""), now.Inbound(k, ""), c.Inbound[k])
			if differ := before.Access(a).Version != now.Access(a).Version; differ && !c.Access[a] && !c.DefaultAccess {
				t.Fatalf("access of %v changed unnoticed", a)
			}
		}
	}
}

func same(t *rapid.T, name string, before, now *compile.Resource, changed bool) {
	version := func(r *compile.Resource) string {
		if r == nil {
			return ""
		}
		return r.Version
	}
	if (version(before) != version(now)) && !changed {
		t.Fatalf("%s changed unnoticed", name)
	}
	if version(before) == version(now) && changed && before != nil && now != nil && name[:7] != "inbound" {
		t.Fatalf("%s did not change but is named", name)
	}
}

// TestC7_RepeatedEventsChangeNothing: an object that arrives again, equal but newly made, changes no version and no resource.
func TestC7_RepeatedEventsChangeNothing(t *testing.T) {
	text := "service x/a accounts=a ports=80 etag=1\nworkload x/a-1 account=a services=a address=10.0.0.1 mesh=1 ports=8080 etag=1\n" +
		"route x/r service=a\nrule backends=a,b\npolicy x/p account=a\nallow from=b"
	first, again := compiletest.World(t, text), compiletest.World(t, text)
	state := compile.Next(nil, first)
	repeated := compile.Next(state, again)
	if c := compile.Diff(state, repeated); !c.Empty() {
		t.Errorf("want no change, got %+v", c)
	}
	k := compiletest.Key("x/a")
	if state.Service(k) != repeated.Service(k) || state.Endpoints(k) != repeated.Endpoints(k) {
		t.Error("a resource was made anew although nothing about it changed")
	}
}

// TestEndpointChangeTouchesOnlyItsService counts what is made anew when one workload of one service moves.
func TestEndpointChangeTouchesOnlyItsService(t *testing.T) {
	var text string
	for i := range 50 {
		text += fmt.Sprintf("service x/s%d accounts=a ports=80\nworkload x/w%d account=a services=s%d address=10.0.0.1 mesh=1 ports=80\n", i, i, i)
	}
	w := compiletest.World(t, text)
	before := compile.Next(nil, w)
	moved := *w.Workloads[compiletest.Key("x/w7")]
	moved.Address = netip.MustParseAddr("10.0.0.2")
	changed := *w
	changed.Workloads = set(w.Workloads, moved.Key, false, &moved)
	now := compile.Next(before, &changed)
	for i := range 50 {
		k := model.Key{Namespace: "x", Name: fmt.Sprintf("s%d", i)}
		if same := before.Endpoints(k) == now.Endpoints(k); same == (i == 7) {
			t.Errorf("endpoints of %s: kept %v", k, same)
		}
		if before.Service(k) != now.Service(k) {
			t.Errorf("body of %s was made anew", k)
		}
	}
	want := &compile.Changes{Endpoints: map[model.Key]bool{{Namespace: "x", Name: "s7"}: true}}
	got := compile.Diff(before, now)
	if diff := cmp.Diff(want.Endpoints, got.Endpoints); diff != "" || got.Everyone || len(got.Services)+len(got.Inbound)+len(got.Access) > 0 {
		t.Errorf("changes: %+v, endpoints (-want +got):\n%s", got, diff)
	}
}
