package gateway

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
)

// newCrowd is a rig with callers of every sort, and a route in each of three namespaces.
func newCrowd(t *testing.T, configure ...func(*Config)) *rig {
	t.Helper()
	r := newRig(t, TLSAuto, configure...)
	r.identity.grant("viewer", identitypb.Role_ROLE_VIEWER)
	r.identity.grant("shop-viewer", identitypb.Role_ROLE_VIEWER, "shop")
	r.identity.grant("shop-operator", identitypb.Role_ROLE_OPERATOR, "shop")
	r.identity.grant("operator", identitypb.Role_ROLE_OPERATOR)
	for _, namespace := range []string{"bank", "default", "shop"} {
		if resp := r.call(t, http.MethodPost, "/v1alpha1/namespaces/"+namespace+"/routes", someRoute, nil); resp.StatusCode != 200 {
			t.Fatalf("route in %s: %d", namespace, resp.StatusCode)
		}
	}
	return r
}

func TestRolesOverREST(t *testing.T) {
	r := newCrowd(t)
	other := strings.Replace(someRoute, `"name":"r"`, `"name":"r2"`, 1)
	const routes, join = "/v1alpha1/namespaces/%/routes", "/v1alpha1/jointokens"
	const external = `{"metadata":{"name":"pay"},"spec":{"hosts":["pay.example.org"],"ports":[443]}}`
	in := func(namespace string) string { return strings.Replace(routes, "%", namespace, 1) }
	for _, test := range []struct {
		who, method, path, body string
		want                    int
	}{
		{"shop-viewer", "GET", in("shop") + "/r", "", 200},
		{"shop-viewer", "GET", in("bank") + "/r", "", 403},
		{"shop-viewer", "GET", in("bank"), "", 403},
		{"shop-viewer", "POST", in("shop"), other, 403},
		{"shop-viewer", "POST", join, `{"namespace":"shop","account":"a"}`, 403},
		{"shop-viewer", "GET", "/v1alpha1/admintokens", "", 403},
		{"shop-viewer", "GET", "/v1alpha1/meshconfigs", "", 200},
		{"shop-viewer", "GET", "/v1alpha1/policy:watch", "", 403},
		{"shop-viewer", "GET", "/v1alpha1/sidecars?localOnly=true", "", 403},
		{"viewer", "GET", in("bank") + "/r", "", 200},
		{"viewer", "POST", in("shop"), other, 403},
		{"viewer", "GET", "/v1alpha1/admintokens", "", 403},
		{"shop-operator", "POST", in("bank"), other, 403},
		{"shop-operator", "POST", in("shop"), other, 200},
		{"shop-operator", "DELETE", in("shop") + "/r2", "", 200},
		{"shop-operator", "DELETE", in("bank") + "/r", "", 403},
		{"shop-operator", "POST", join, `{"namespace":"shop","account":"a","services":["a"]}`, 200},
		{"shop-operator", "POST", join, `{"account":"a"}`, 403}, // of namespace default
		{"shop-operator", "POST", "/v1alpha1/namespaces/default/meshconfigs", `{"metadata":{"name":"default"}}`, 403},
		{"operator", "POST", join, `{"namespace":"weft-system","account":"gateway"}`, 403},
		{"operator", "POST", "/v1alpha1/namespaces/default/meshconfigs", `{"metadata":{"name":"default"}}`, 403},
		{"operator", "POST", "/v1alpha1/admintokens", `{}`, 403},
		{"operator", "POST", "/v1alpha1/namespaces/default/rolebindings", `{"metadata":{"name":"x"}}`, 403},
		{"shop-viewer", "GET", "/v1alpha1/namespaces/shop/externalservices", "", 200},
		{"shop-viewer", "GET", "/v1alpha1/namespaces/bank/externalservices", "", 403},
		{"shop-viewer", "POST", "/v1alpha1/namespaces/shop/externalservices", external, 403},
		{"shop-operator", "POST", "/v1alpha1/namespaces/bank/externalservices", external, 403},
		{"shop-operator", "POST", "/v1alpha1/namespaces/shop/externalservices", external, 200},
		{"shop-viewer", "GET", "/v1alpha1/namespaces/shop/externalservices/pay?readMask=metadata.name", "", 200},
		{"shop-operator", "DELETE", "/v1alpha1/namespaces/shop/externalservices/pay", "", 200},
		{"operator", "POST", "/v1alpha1/hosttokens", `{"scope":{"host":"c","namespaces":["shop"]}}`, 403},
		{"host", "POST", "/v1alpha1/namespaces/shop/externalservices", external, 403},
		{"host", "GET", "/v1alpha1/namespaces/shop/routes", "", 403},
		{"host", "GET", "/v1alpha1/auditevents", "", 403},
		{"host", "GET", "/v1alpha1/whoami", "", 200},
		{"good", "POST", "/v1alpha1/hosttokens", `{"scope":{"host":"c","namespaces":["shop"]}}`, 200},
		{"good", "POST", join, `{"namespace":"weft-system","account":"gateway"}`, 200},
		{"good", "POST", "/v1alpha1/namespaces/default/meshconfigs", `{"metadata":{"name":"default"}}`, 200},
		{"nobody", "GET", "/v1alpha1/status", "", 401},
	} {
		var p problem
		resp := r.callAs(t, "Bearer "+test.who, test.method, test.path, test.body, nil)
		if resp.StatusCode != test.want {
			r.callAs(t, "Bearer "+test.who, test.method, test.path, test.body, &p)
			t.Errorf("%s %s %s %s: %d, want %d; %+v", test.who, test.method, test.path, test.body, resp.StatusCode, test.want, p)
		}
	}
	var p problem
	r.callAs(t, "Bearer shop-operator", http.MethodDelete, in("bank")+"/r", "", &p)
	for _, part := range []string{"shop-operator", "operator of shop", "DeleteRoute", `role operator in namespace "bank"`} {
		if !strings.Contains(p.Detail, part) {
			t.Errorf("%q does not say %q", p.Detail, part)
		}
	}
}

func TestListsWithoutANamespaceAreTrimmed(t *testing.T) {
	r := newCrowd(t)
	r.sidecars.sidecars = []*configpb.SidecarStatus{{Namespace: "bank", Workload: "b"}, {Namespace: "shop", Workload: "s"}}
	conn, _ := r.conn(t)
	for who, want := range map[string][]string{"shop-viewer": {"shop"}, "viewer": {"bank", "default", "shop"}, "good": {"bank", "default", "shop"}} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+who)
		list, err := policypb.NewPolicyServiceClient(conn).ListRoutes(ctx, &policypb.ListRoutesRequest{PageSize: 3})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, route := range list.GetRoutes() {
			got = append(got, route.GetMetadata().GetNamespace())
		}
		if !slices.Equal(got, want) || list.GetNextPageToken() != "" {
			t.Errorf("%s sees routes of %q, want %q", who, got, want)
		}
		sidecars, err := configpb.NewConvergenceServiceClient(conn).ListSidecars(ctx, &configpb.ListSidecarsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		status, err := adminpb.NewAdminServiceClient(conn).GetStatus(ctx, &adminpb.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		n := 2
		if who == "shop-viewer" {
			n = 1
		}
		if len(sidecars.GetSidecars()) != n || len(status.GetSidecars()) != n {
			t.Errorf("%s sees sidecars %v and status %v", who, sidecars.GetSidecars(), status.GetSidecars())
		}
		check, err := adminpb.NewAdminServiceClient(conn).CheckMesh(ctx, &adminpb.CheckMeshRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if seesBank := strings.Contains(check.String(), "bank"); seesBank != (n == 2) {
			t.Errorf("%s: findings about bank: %v", who, seesBank)
		}
	}
}

func TestApplyNeedsTheRoleForEveryObject(t *testing.T) {
	r := newCrowd(t)
	conn, _ := r.conn(t)
	apply := func(who, manifests string) error {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+who)
		_, err := adminpb.NewAdminServiceClient(conn).Apply(ctx, &adminpb.ApplyRequest{Manifests: manifests})
		return err
	}
	shop := strings.ReplaceAll(shopManifests, "metadata: {", "metadata: {namespace: shop, ")
	if err := apply("shop-operator", shop); err != nil {
		t.Error(err)
	}
	mixed := shop + "---\napiVersion: weft.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: default}\n"
	for who, manifests := range map[string]string{"shop-operator": shopManifests, "operator": mixed, "viewer": shop, "shop-viewer": "kind: nonsense"} {
		if err := apply(who, manifests); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", who, err)
		}
	}
	// Who may write somewhere is told what is wrong with a manifest.
	if err := apply("shop-operator", "kind: nonsense"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a broken manifest: %v", err)
	}
	if got := r.catalogue.accounts("shop"); got != nil {
		t.Errorf("a refused apply wrote a service: %q", got)
	}
}

func TestWhoAmI(t *testing.T) {
	r := newCrowd(t)
	var got struct {
		Principal, Credential string
		Grants                []struct {
			Role       string
			Namespaces []string
		}
	}
	r.callAs(t, "Bearer shop-operator", http.MethodGet, "/v1alpha1/whoami", "", &got)
	if got.Principal != "shop-operator" || got.Credential != "CREDENTIAL_TOKEN" || len(got.Grants) != 1 || got.Grants[0].Role != "ROLE_OPERATOR" {
		t.Errorf("%+v", got)
	}
}

// Every RPC of the services that the gateway stands for is either offered, with a rule that says who may call it, or is
// sidecars' or services' own. Whoever adds one to the protos has to say here or in methods.go which.
func TestEveryRPCHasARule(t *testing.T) {
	inner := map[string]bool{
		// Of sidecars, which call with their SVIDs or with what they get them for.
		"weft.discovery.v1alpha1.DiscoveryService/Register": true, "weft.discovery.v1alpha1.DiscoveryService/Deregister": true,
		"weft.identity.v1alpha1.IdentityService/IssueX509SVID": true, "weft.config.v1alpha1.ConfigService/Stream": true,
		"weft.telemetry.v1alpha1.TelemetryService/Report": true,
		// Of hosts that join: the token names the identity service's authorities.
		"weft.identity.v1alpha1.IdentityService/JoinHost": true,
		// Of the gateway itself.
		"weft.identity.v1alpha1.IdentityService/AuthenticateToken": true, "weft.identity.v1alpha1.IdentityService/ResolveGrants": true,
	}
	offered, err := methods()
	if err != nil {
		t.Fatal(err)
	}
	rpcs := map[string]bool{}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if !strings.HasPrefix(string(f.Package()), "weft.") {
			return true
		}
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				rpcs[string(s.FullName())+"/"+string(s.Methods().Get(j).Name())] = true
			}
		}
		return true
	})
	for name := range rpcs {
		switch m, ok := offered["/"+name]; {
		case inner[name] == ok:
			t.Errorf("%s: offered %v, sidecars' or services' own %v", name, ok, inner[name])
		case ok && (m.rule.Role == model.RoleNone || m.rule.Where == 0):
			t.Errorf("%s is offered, but its rule %+v lets nobody call it", name, m.rule)
		}
	}
	for name := range inner {
		if !rpcs[name] {
			t.Errorf("%s is no longer there", name)
		}
	}
	if len(rpcs) < 50 {
		t.Errorf("only %d RPCs were found", len(rpcs))
	}
}
