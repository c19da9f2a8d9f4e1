package access

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

func who(grants ...model.Grant) Principal {
	return Principal{ID: "x", Credential: adminpb.Credential_CREDENTIAL_TOKEN, Grants: grants}
}

func as(role model.Role, namespaces ...string) model.Grant {
	return model.Grant{Role: role, Namespaces: namespaces}
}

func TestGrantsAddUp(t *testing.T) {
	p := who(as(model.RoleViewer, "web", "shop"), as(model.RoleOperator, "shop"), as(model.RoleViewer, "shop"))
	for namespace, want := range map[string]model.Role{"shop": model.RoleOperator, "web": model.RoleViewer, "bank": model.RoleNone} {
		if got := p.In(namespace); got != want {
			t.Errorf("in %s: %s, want %s", namespace, got, want)
		}
	}
	if p.Everywhere() != model.RoleNone || p.Anywhere() != model.RoleOperator {
		t.Errorf("everywhere %s, anywhere %s", p.Everywhere(), p.Anywhere())
	}
	namespaces, all := p.Namespaces()
	if diff := cmp.Diff([]string{"shop", "web"}, namespaces); diff != "" || all {
		t.Errorf("%s, all %v", diff, all)
	}
	if _, all := who(as(model.RoleViewer, "web"), as(model.RoleViewer)).Namespaces(); !all {
		t.Error("a viewer of everything does not see everything")
	}
}

func TestWhatRequestsAreAbout(t *testing.T) {
	rule := Rule{Role: model.RoleOperator, Where: OfObject, Kind: "Route"}
	list := Rule{Role: model.RoleViewer, Where: OfFilter, Kind: "Route"}
	for _, test := range []struct {
		rule    Rule
		request proto.Message
		want    string
	}{
		{rule, &policypb.CreateRouteRequest{Route: &policypb.Route{Metadata: &typepb.ObjectMeta{Namespace: "shop", Name: "a"}}}, "Route shop/a"},
		{rule, &policypb.UpdateRouteRequest{Route: &policypb.Route{Metadata: &typepb.ObjectMeta{Name: "a"}}}, "Route default/a"},
		{rule, &policypb.UpdateRouteRequest{}, "Route"}, // of namespace default, which is where it would go
		{rule, &policypb.DeleteRouteRequest{Name: "a"}, "Route default/a"},
		{list, &policypb.ListRoutesRequest{Namespace: "shop"}, "Route"},
		{list, &policypb.ListRoutesRequest{}, ""},
		{list, &telemetrypb.QueryEdgesRequest{}, ""},
		{rule, &identitypb.CreateJoinTokenRequest{Account: "web", Services: []string{"shop"}}, "Route default/web, Service default/shop"},
		{rule, &identitypb.DeleteAdminTokenRequest{Id: "4711"}, "Route /4711"},
		{rule, &discoverypb.ListEndpointsRequest{Service: "web"}, "Route default/web"},
		{rule, &adminpb.ApplyRequest{Manifests: "apiVersion: weft.dev/v1alpha1\nkind: MeshConfig\nmetadata: {name: default}\n"}, "MeshConfig default/default"},
	} {
		objects, err := test.rule.Objects(test.request)
		if err != nil {
			t.Errorf("%v: %v", test.request, err)
		}
		var got []string
		for _, o := range objects {
			got = append(got, o.String())
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%T{%v} is about %q, want %q", test.request, test.request, got, test.want)
		}
	}
}

func TestJudge(t *testing.T) {
	at := func(namespace string) []Object { return []Object{{Kind: "Route", Namespace: namespace, Name: "r"}} }
	write := Rule{Role: model.RoleOperator, Where: OfObject}
	for _, test := range []struct {
		name    string
		rule    Rule
		who     Principal
		objects []Object
		want    string // what the refusal says; empty: allowed
	}{
		{"operator of the namespace", write, who(as(model.RoleOperator, "shop")), at("shop"), ""},
		{"operator of another", write, who(as(model.RoleOperator, "web")), at("shop"), `role operator in namespace "shop" for Route shop/r`},
		{"one of two", write, who(as(model.RoleOperator, "shop")), append(at("shop"), at("web")...), `in namespace "web"`},
		{"viewer", write, who(as(model.RoleViewer)), at("shop"), "needs role operator"},
		{"operator of everything", write, who(as(model.RoleOperator)), at("shop"), ""},
		{"operator in weft-system", write, who(as(model.RoleOperator)), at("weft-system"), "role administrator in namespace \"weft-system\""},
		{"administrator in weft-system", write, who(as(model.RoleAdministrator)), at("weft-system"), ""},
		{"viewer reads weft-system", Rule{Role: model.RoleViewer, Where: OfObject}, who(as(model.RoleViewer)), at("weft-system"), ""},
		{"kind for administrators", write, who(as(model.RoleOperator)), []Object{{Kind: "MeshConfig", Namespace: "default", Role: model.RoleAdministrator}}, "role administrator"},
		{"list of everything", Rule{Role: model.RoleViewer, Where: OfFilter}, who(as(model.RoleViewer, "shop")), nil, ""},
		{"list of another", Rule{Role: model.RoleViewer, Where: OfFilter}, who(as(model.RoleViewer, "shop")), at("web"), `in namespace "web"`},
		{"whole mesh", Rule{Role: model.RoleViewer, Where: WholeMesh}, who(as(model.RoleViewer, "shop")), nil, "in every namespace"},
		{"object that cannot be told", write, who(as(model.RoleOperator, "shop")), nil, "to say what it is about"},
		{"no rule", Rule{}, who(as(model.RoleAdministrator)), nil, "nobody may call"},
		{"rule without a role", Rule{Where: Somewhere}, who(as(model.RoleAdministrator)), nil, "nobody may call"},
		{"no grants", write, who(), at("shop"), "RoleBinding"},
	} {
		err := test.rule.Judge(test.who, "/weft.policy.v1alpha1.PolicyService/CreateRoute", test.objects)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.want != "" && (!fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want a denial that says %q", test.name, err, test.want)
		}
	}
}

func TestHostsMayStartTheirWorkloads(t *testing.T) {
	web := Principal{ID: "h1", Host: &Host{Name: "b", Accounts: []string{"web"}}, Grants: []model.Grant{as(model.RoleOperator, "shop")}}
	free := Principal{ID: "h2", Host: &Host{Name: "c"}, Grants: []model.Grant{as(model.RoleOperator, "shop")}}
	none := Principal{ID: "h3", Host: &Host{Name: "d"}}
	mint := Rule{Role: model.RoleOperator, Where: OfObject, Kind: "JoinToken", Hosts: ForAccounts}
	read := Rule{Role: model.RoleViewer, Where: OfObject, Kind: "Service", Hosts: ByGrants}
	revoke := Rule{Role: model.RoleAdministrator, Where: WholeMesh, Kind: "AdminToken", Hosts: ForItself}
	token := func(namespace, account string, services ...string) []Object {
		return mint.ofJoinToken(&identitypb.CreateJoinTokenRequest{Namespace: namespace, Account: account, Services: services})
	}
	id := func(id string) []Object { return []Object{{Kind: "AdminToken", Name: id}} }
	for _, test := range []struct {
		name    string
		rule    Rule
		who     Principal
		objects []Object
		want    string
	}{
		{"its account", mint, web, token("shop", "web", "cart"), ""},
		{"another account", mint, web, token("shop", "bank"), `accounts "web", not "bank"`},
		{"another namespace", mint, web, token("lab", "web"), `in "shop", not in namespace "lab"`},
		{"the default namespace", mint, web, token("", "web"), `not in namespace "default"`},
		{"any account", mint, free, token("shop", "bank"), ""},
		{"any account, another namespace", mint, free, token("lab", "bank"), `not in namespace "lab"`},
		{"no namespace", mint, none, token("shop", "web"), "not in namespace"},
		{"reads its namespace", read, web, []Object{{Kind: "Service", Namespace: "shop", Name: "cart"}}, ""},
		{"reads another", read, web, []Object{{Kind: "Service", Namespace: "bank", Name: "b"}}, `in namespace "bank"`},
		{"itself", revoke, web, id("h1"), ""},
		{"another", revoke, web, id("h2"), "its own credential"},
		{"nothing in particular", revoke, web, nil, "its own credential"},
		{"what hosts have no use for", Rule{Role: model.RoleViewer, Where: Somewhere}, web, nil, `host "b" is not good for CreateRoute`},
	} {
		err := test.rule.Judge(test.who, "/weft.policy.v1alpha1.PolicyService/CreateRoute", test.objects)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.want != "" && (!fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want a denial that says %q", test.name, err, test.want)
		}
	}
	if web.Same(free) || !web.Same(web) || web.Same(Principal{ID: "h1", Grants: web.Grants}) {
		t.Error("hosts with other accounts are taken for the same")
	}
}

func TestKindsThatNobodyThoughtOfNeedAnAdministrator(t *testing.T) {
	for kind, want := range map[string]model.Role{model.KindRoute: model.RoleOperator, model.KindExternalService: model.RoleOperator, model.KindRoleBinding: model.RoleAdministrator, "Nothing": model.RoleAdministrator} {
		if got := ToWrite(kind); got != want {
			t.Errorf("%s: %s, want %s", kind, got, want)
		}
	}
}
