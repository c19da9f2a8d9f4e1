package gateway

import (
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
