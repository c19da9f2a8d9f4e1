package gateway

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
)

const shopManifests = `
apiVersion: weft.dev/v1alpha1
kind: Route
metadata: {name: canary}
spec: {service: shop, rules: [{backends: [{service: shop, weight: 90}, {service: shop-next, weight: 10}]}]}
---
apiVersion: weft.dev/v1alpha1
kind: Service
metadata: {name: shop}
spec: {accounts: [shop]}
---
apiVersion: weft.dev/v1alpha1
kind: AccessPolicy
metadata: {name: callers}
spec: {destination: {account: shop}, allow: [{from: [{account: web}]}]}
`

func apply(t *testing.T, r *rig, req *adminpb.ApplyRequest) (*adminpb.ApplyResponse, error) {
	t.Helper()
	conn, ctx := r.conn(t)
	return adminpb.NewAdminServiceClient(conn).Apply(ctx, req)
}

// actions are what was done, in order of the manifests.
func actions(resp *adminpb.ApplyResponse) []string {
	var out []string
	for _, o := range resp.GetObjects() {
		out = append(out, o.GetObject().GetKind()+" "+strings.TrimPrefix(o.GetAction().String(), "APPLY_ACTION_"))
	}
	return out
}

func routes(t *testing.T, r *rig) int {
	t.Helper()
	conn, ctx := r.conn(t)
	list, err := policypb.NewPolicyServiceClient(conn).ListRoutes(ctx, &policypb.ListRoutesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return len(list.GetRoutes())
}

func violations(err error) []string {
	var out []string
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				out = append(out, v.GetField())
			}
		}
	}
	return out
}

func TestApplyCreatesUpdatesAndLeavesAlone(t *testing.T) {
	r := newRig(t, TLSAuto)
	resp, err := apply(t, r, &adminpb.ApplyRequest{Manifests: shopManifests})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Route CREATED", "Service CREATED", "AccessPolicy CREATED"}, actions(resp)); diff != "" {
		t.Error(diff)
	}
	warnings := resp.GetObjects()[0].GetWarnings()
	if len(warnings) != 1 || warnings[0].GetField() != "spec.rules[0].backends[1].service" {
		t.Errorf("warnings %v, want one about the service that does not exist", warnings)
	}
	if n := len(resp.GetRevisions().GetRevisions()); n != 2 {
		t.Errorf("%d revisions to wait for, want those of policy and discovery", n)
	}

	resp, err = apply(t, r, &adminpb.ApplyRequest{Manifests: strings.Replace(shopManifests, "90", "50", 1)})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Route UPDATED", "Service UNCHANGED", "AccessPolicy UNCHANGED"}, actions(resp)); diff != "" {
		t.Error(diff)
	}
}

func TestDryRunForetellsAndWritesNothing(t *testing.T) {
	r := newRig(t, TLSAuto)
	r.catalogue.add("shop", "shop")
	resp, err := apply(t, r, &adminpb.ApplyRequest{Manifests: shopManifests, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Route CREATED", "Service UNCHANGED", "AccessPolicy CREATED"}, actions(resp)); diff != "" {
		t.Error(diff)
	}
	if n := routes(t, r); n != 0 {
		t.Errorf("%d routes after a dry run", n)
	}
}

func TestOneInvalidObjectStopsAll(t *testing.T) {
	for _, test := range []struct {
		name, manifests string
		strict          bool
		want            []string
	}{
		{"rule of the owner", strings.Replace(shopManifests, "account: shop}", "account: SHOP}", 1), false, []string{"AccessPolicy default/callers: spec.destination.account"}},
		{"two at once", strings.NewReplacer("account: shop}", "account: SHOP}", "accounts: [shop]", "accounts: [A B]").Replace(shopManifests), false,
			[]string{"Service default/shop: spec.accounts[0]", "AccessPolicy default/callers: spec.destination.account"}},
		{"reference, strictly", shopManifests, true, []string{"Route default/canary: spec.rules[0].backends[1].service"}},
		{"twice", shopManifests + "---\n" + strings.Split(shopManifests, "---\n")[0], false, []string{"Route default/canary: metadata.name"}},
		{"unknown kind", shopManifests + "---\napiVersion: weft.dev/v1alpha1\nkind: Nothing\nmetadata: {name: x}\n", false, []string{"Nothing default/x: kind"}},
		{"nothing", "", false, []string{"manifests"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, TLSAuto)
			_, err := apply(t, r, &adminpb.ApplyRequest{Manifests: test.manifests, Strict: test.strict})
			if status.Code(err) != codes.InvalidArgument {
				t.Fatalf("error %v, want InvalidArgument", err)
			}
			if diff := cmp.Diff(test.want, violations(err)); diff != "" {
				t.Error(diff)
			}
			if routes(t, r) != 0 || r.catalogue.accounts("shop") != nil {
				t.Error("something was written")
			}
		})
	}
}

func TestApplyWinsAgainstAWriterInBetween(t *testing.T) {
	r := newRig(t, TLSAuto)
	r.catalogue.add("shop", "other")
	r.catalogue.beforeUpdate = func() { r.catalogue.addLocked("shop", "somebody") }
	resp, err := apply(t, r, &adminpb.ApplyRequest{Manifests: shopManifests})
	if err != nil {
		t.Fatal(err)
	}
	if got := actions(resp)[1]; got != "Service UPDATED" {
		t.Errorf("%s: %s", got, resp.GetObjects()[1].GetError())
	}
	if diff := cmp.Diff([]string{"shop"}, r.catalogue.accounts("shop")); diff != "" {
		t.Error(diff)
	}
}

func TestApplyWithAnEtagNeverOverwrites(t *testing.T) {
	r := newRig(t, TLSAuto)
	r.catalogue.add("shop", "other") // etag 1
	r.catalogue.beforeUpdate = func() { r.catalogue.addLocked("shop", "somebody") }
	guarded := strings.Replace(shopManifests, "{name: shop}", `{name: shop, etag: "1"}`, 1)
	resp, err := apply(t, r, &adminpb.ApplyRequest{Manifests: guarded})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"Route CREATED", "Service FAILED", "AccessPolicy CREATED"}
	if diff := cmp.Diff(want, actions(resp)); diff != "" || resp.GetObjects()[1].GetError() == "" {
		t.Errorf("%s, error %q", diff, resp.GetObjects()[1].GetError())
	}
	if got := r.catalogue.accounts("shop"); !slices.Equal(got, []string{"somebody"}) {
		t.Errorf("accounts %q were overwritten", got)
	}
}
