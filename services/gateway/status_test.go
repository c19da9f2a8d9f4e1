package gateway

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
)

func sidecar(name string, connected bool, left time.Duration, now time.Time) *configpb.SidecarStatus {
	return &configpb.SidecarStatus{
		Namespace: "default", Workload: name, Connected: connected, SvidExpireTime: timestamppb.New(now.Add(left)),
	}
}

func TestStatusShowsComponentsAndTheGuaranteedOutage(t *testing.T) {
	r := newRig(t, TLSAuto)
	now := r.clock()
	r.sidecars.sidecars = []*configpb.SidecarStatus{
		sidecar("a-1", true, 40*time.Hour, now), sidecar("b-1", true, 25*time.Hour, now), sidecar("gone-1", false, time.Hour, now),
	}
	r.servers[policy].SetServing(false)
	conn, ctx := r.conn(t)
	got, err := adminpb.NewAdminServiceClient(conn).GetStatus(ctx, &adminpb.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got.GetGuaranteedOutage().AsDuration() != 25*time.Hour || got.GetLimitingSidecar() != "default/b-1" {
		t.Errorf("guaranteed outage %v because of %q", got.GetGuaranteedOutage().AsDuration(), got.GetLimitingSidecar())
	}
	if got.GetTrustDomain() != "weft.local" {
		t.Errorf("trust domain %q", got.GetTrustDomain())
	}
	ready := map[string]bool{}
	for _, c := range got.GetComponents() {
		ready[c.GetComponent()+" "+c.GetReplica()] = c.GetReady()
		if !c.GetReady() && c.GetMessage() == "" {
			t.Errorf("component %v does not say why it is not ready", c)
		}
	}
	want := map[string]bool{
		"discovery me": true, "distributor me": true, "distributor 10.0.0.9:9715": false, "gateway me": true, "identity me": true,
		"policy me": false, "telemetry me": false,
	}
	if diff := cmp.Diff(want, ready); diff != "" {
		t.Error(diff)
	}
}

func TestCheckNamesTheRemedy(t *testing.T) {
	r := newRig(t, TLSAuto)
	r.catalogue.add("shop", "shop")
	conn, ctx := r.conn(t)
	got, err := adminpb.NewAdminServiceClient(conn).CheckMesh(ctx, &adminpb.CheckMeshRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(got.GetFindings(), func(a, b *adminpb.Finding) int { return int(b.GetSeverity()) - int(a.GetSeverity()) }) {
		t.Error("findings are not in order, worst first")
	}
	subjects := map[string]adminpb.Severity{}
	for _, f := range got.GetFindings() {
		subjects[f.GetSubject()] = f.GetSeverity()
		if (f.GetRemedy() == "") != (f.GetSeverity() == adminpb.Severity_SEVERITY_OK) {
			t.Errorf("finding %v: a remedy is for what is wrong", f)
		}
	}
	want := map[string]adminpb.Severity{
		"component telemetry me": adminpb.Severity_SEVERITY_ERROR, "component distributor 10.0.0.9:9715": adminpb.Severity_SEVERITY_ERROR,
		"service default/shop": adminpb.Severity_SEVERITY_WARNING, "sidecars": adminpb.Severity_SEVERITY_OK,
		"workloads": adminpb.Severity_SEVERITY_OK, "routes": adminpb.Severity_SEVERITY_OK, "access policies": adminpb.Severity_SEVERITY_OK,
	}
	if diff := cmp.Diff(want, subjects); diff != "" {
		t.Error(diff)
	}
}

func TestFindings(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	meta := func(name string) model.Meta { return model.Meta{Key: model.Key{Namespace: "default", Name: name}} }
	shop := model.Service{Meta: meta("shop"), Accounts: []string{"shop"}}
	instance := model.Workload{
		Meta: meta("shop-1"), Account: "shop", Services: []string{"shop"}, State: model.WorkloadReady,
		Ports: []model.WorkloadPort{{Port: 8080}}, Selectable: map[string]string{"version": "v1"},
	}
	foreign := instance
	foreign.Account = "thief"
	lost := instance
	lost.State = model.WorkloadUnknown
	route := func(name, service string, labels map[string]string) model.Route {
		return model.Route{Meta: meta(name), Service: "shop", Rules: []model.RouteRule{{Backends: []model.Backend{{Service: service, Labels: labels, Weight: 1}}}}}
	}
	older := route("old", "shop", nil)
	older.CreateTime = now
	younger := route("young", "shop", nil)
	younger.CreateTime = now.Add(time.Hour)
	policyFor := func(account, from string) model.AccessPolicy {
		return model.AccessPolicy{Meta: meta("p"), Account: account, Allow: []model.AccessRule{{From: []model.AccessSource{{Account: from}}}}}
	}
	connected := func(left time.Duration, change func(*configpb.SidecarStatus)) *adminpb.GetStatusResponse {
		c := sidecar("shop-1", true, left, now)
		if change != nil {
			change(c)
		}
		return &adminpb.GetStatusResponse{Sidecars: []*configpb.SidecarStatus{c}}
	}
	tests := []struct {
		name string
		view view
		want string // part of the only finding; empty: none
	}{
		{"all well", view{status: connected(40*time.Hour, nil), services: []model.Service{shop}, workloads: []model.Workload{instance}, routes: []model.Route{older}, policies: []model.AccessPolicy{policyFor("shop", "shop")}}, ""},
		{"away", view{status: connected(40*time.Hour, func(c *configpb.SidecarStatus) { c.Connected = false })}, "connected to no replica"},
		{"behind", view{status: connected(40*time.Hour, func(c *configpb.SidecarStatus) { c.Behind = true })}, "newest configuration"},
		{"nack", view{status: connected(40*time.Hour, func(c *configpb.SidecarStatus) {
			c.Nacks = []*configpb.Nack{{Resource: "access", Error: "unknown field"}}
		})}, "refuses access: unknown field"},
		{"not renewed", view{status: connected(20*time.Hour, nil)}, "past half of its life"},
		{"long not renewed", view{status: connected(15*time.Hour, nil)}, "less than a third of its life left and was not renewed; it runs out in 15h0m0s"},
		{"run out", view{status: connected(-time.Minute, nil)}, "ran out 1m0s ago"},
		{"no endpoints", view{services: []model.Service{shop}}, "has no endpoints"},
		{"no accounts", view{services: []model.Service{{Meta: meta("shop")}}}, "allows no account"},
		{"account refused", view{services: []model.Service{shop}, workloads: []model.Workload{instance, foreign}}, `"thief" may not serve`},
		{"missing service of a workload", view{workloads: []model.Workload{instance}}, "does not exist"},
		{"missing backend", view{services: []model.Service{shop}, workloads: []model.Workload{instance}, routes: []model.Route{route("r", "gone", nil)}}, "spec.rules[0].backends[0].service"},
		{"labels of nobody", view{services: []model.Service{shop}, workloads: []model.Workload{instance}, routes: []model.Route{route("r", "shop", map[string]string{"version": "v9"})}}, "version=v9"},
		{"protects nobody", view{workloads: []model.Workload{{Meta: meta("w"), Account: "web"}}, policies: []model.AccessPolicy{policyFor("shop", "web")}}, "protects nobody"},
		{"allows nobody", view{workloads: []model.Workload{{Meta: meta("w"), Account: "web"}}, policies: []model.AccessPolicy{policyFor("web", "shop")}}, "spec.allow[0].from[0]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := test.view
			v.now, v.svidTTL, v.catalogueRead, v.sees = now, 48*time.Hour, true, func(string) bool { return true }
			if v.status == nil {
				v.status = &adminpb.GetStatusResponse{}
			}
			var bad []*adminpb.Finding
			for _, f := range v.findings() {
				if f.GetSeverity() != adminpb.Severity_SEVERITY_OK {
					bad = append(bad, f)
				}
			}
			if test.want == "" && len(bad) == 0 {
				return
			}
			if len(bad) != 1 || test.want == "" || !strings.Contains(bad[0].GetMessage(), test.want) {
				t.Errorf("findings %v, want one that says %q", bad, test.want)
			}
		})
	}
	t.Run("conflict and lost leases", func(t *testing.T) {
		v := view{
			sees:   func(string) bool { return true },
			status: &adminpb.GetStatusResponse{}, now: now, svidTTL: time.Hour, catalogueRead: true, services: []model.Service{shop},
			workloads: []model.Workload{lost}, routes: []model.Route{older, younger},
		}
		var subjects []string
		for _, f := range v.findings() {
			if f.GetSeverity() == adminpb.Severity_SEVERITY_WARNING {
				subjects = append(subjects, f.GetSubject())
			}
		}
		want := []string{"service default/shop", "workload default/shop-1", "route default/old", "route default/young"}
		if diff := cmp.Diff(want, subjects); diff != "" {
			t.Error(diff)
		}
	})
}
