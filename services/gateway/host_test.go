package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

// A host's credential starts the host's own workloads and does nothing else.
func TestHostCredentialIsForItsWorkloadsOnly(t *testing.T) {
	r := newRig(t, TLSOff)
	conn, _ := r.conn(t)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer host")
	admin, policies, identities := adminpb.NewAdminServiceClient(conn), policypb.NewPolicyServiceClient(conn), identitypb.NewIdentityServiceClient(conn)
	join := func(namespace, account string, services ...string) func() error {
		return func() error {
			_, err := identities.CreateJoinToken(ctx, &identitypb.CreateJoinTokenRequest{Namespace: namespace, Account: account, Services: services})
			return err
		}
	}
	route := &policypb.Route{Metadata: &typepb.ObjectMeta{Namespace: "shop", Name: "r"}, Spec: &policypb.RouteSpec{Service: "cart"}}
	for name, tt := range map[string]struct {
		call func() error
		want codes.Code
		says string
	}{
		"its account":            {join("shop", "cart", "cart"), codes.OK, ""},
		"in its other namespace": {join("lab", "web"), codes.OK, ""},
		"another account":        {join("shop", "bank", "bank"), codes.PermissionDenied, `accounts "cart", "web", not "bank"`},
		"another namespace":      {join("", "cart"), codes.PermissionDenied, `not in namespace "default"`},
		"the control plane":      {join("weft-system", "policy"), codes.PermissionDenied, "weft-system"},
		"status": {func() error {
			_, err := admin.GetStatus(ctx, &adminpb.GetStatusRequest{})
			return err
		}, codes.OK, ""},
		"policy": {func() error {
			_, err := policies.CreateRoute(ctx, &policypb.CreateRouteRequest{Route: route})
			return err
		}, codes.PermissionDenied, `host "b" is not good for CreateRoute`},
		"manifests": {func() error {
			_, err := admin.Apply(ctx, &adminpb.ApplyRequest{Manifests: "{}"})
			return err
		}, codes.PermissionDenied, "Apply"},
		"a token for itself": {func() error {
			_, err := identities.CreateAdminToken(ctx, &identitypb.CreateAdminTokenRequest{})
			return err
		}, codes.PermissionDenied, "CreateAdminToken"},
		"a token for a host": {func() error {
			_, err := identities.CreateHostToken(ctx, &identitypb.CreateHostTokenRequest{})
			return err
		}, codes.PermissionDenied, "CreateHostToken"},
		"another's token": {func() error {
			_, err := identities.DeleteAdminToken(ctx, &identitypb.DeleteAdminTokenRequest{Id: "ann"})
			return err
		}, codes.PermissionDenied, "its own credential"},
		"its own token": {func() error {
			_, err := identities.DeleteAdminToken(ctx, &identitypb.DeleteAdminTokenRequest{Id: "h1"})
			return err
		}, codes.OK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.call()
			if status.Code(err) != tt.want || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error is %v, want %s with %q", err, tt.want, tt.says)
			}
		})
	}
	r.catalogue.mu.Lock()
	defer r.catalogue.mu.Unlock()
	for key := range r.catalogue.services {
		if key.Name != "cart" {
			t.Errorf("a refused token made service %q", key)
		}
	}
}

// What hosts are allowed is in the audit log from the minting of their token on, by one id: that of the credential.
func TestHostsAreAudited(t *testing.T) {
	r := newRig(t, TLSOff)
	const body = `{"scope":{"host":"c","namespaces":["shop"],"accounts":["web"]}}`
	for range 2 { // with an idempotency key, a secret is not given out again
		r.send(t, "POST", "/v1alpha1/hosttokens", body, "Idempotency-Key", "k", "X-Request-Id", "mint")
	}
	r.send(t, "POST", "/v1alpha1/jointokens", `{"namespace":"shop","account":"web"}`, "Authorization", "Bearer host", "X-Request-Id", "join")
	r.send(t, "POST", "/v1alpha1/jointokens", `{"namespace":"bank","account":"web"}`, "Authorization", "Bearer host", "X-Request-Id", "no")
	r.send(t, "DELETE", "/v1alpha1/admintokens/h1", "", "Authorization", "Bearer host", "X-Request-Id", "leave")
	var got []string
	for _, e := range r.events(t, "good", "") {
		if e.Code != "AlreadyExists" && e.Code != "Aborted" && e.Code != "FailedPrecondition" { // the second mint
			o := e.Objects[0]
			got = append(got, fmt.Sprint(e.RequestID, " ", e.Principal, " ", e.Credential, " ", e.Code, " ", o.Kind, " ", o.Namespace, "/", o.Name))
		}
		if e.RequestID == "mint" && e.Code == "OK" && e.Message != `host "c" for accounts web of shop` {
			t.Errorf("the token is described as %q", e.Message)
		}
		if strings.Contains(fmt.Sprint(e), "SECRET") {
			t.Errorf("the audit log holds a secret: %+v", e)
		}
	}
	want := []string{
		"mint ann CREDENTIAL_TOKEN OK HostToken /h2", "join h1 CREDENTIAL_HOST OK JoinToken shop/web",
		"no h1 CREDENTIAL_HOST PermissionDenied JoinToken bank/web", "leave h1 CREDENTIAL_HOST OK AdminToken /h1",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("audited:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r.identity.minted != 1 {
		t.Errorf("%d tokens were minted for one key", r.identity.minted)
	}
}
