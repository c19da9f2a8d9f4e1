package identity_test

import (
	"crypto/sha256"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

func grant(role identitypb.Role, namespaces ...string) *identitypb.Grant {
	return &identitypb.Grant{Role: role, Namespaces: namespaces}
}

const (
	viewer        = identitypb.Role_ROLE_VIEWER
	operator      = identitypb.Role_ROLE_OPERATOR
	administrator = identitypb.Role_ROLE_ADMINISTRATOR
)

// Tokens of lesser roles are for the gateway, which knows what a call is about; identity's own port takes none.
func TestTokensHaveRoles(t *testing.T) {
	r := start(t, memkv.New(), "a")
	ctx := bearer(t.Context(), fileToken(t, r.dir))
	client := r.anonymous(t, anybody)
	for _, want := range []*identitypb.Grant{grant(viewer), grant(operator, "shop", "web")} {
		made, err := client.CreateAdminToken(ctx, &identitypb.CreateAdminTokenRequest{Grant: want})
		if err != nil {
			t.Fatal(err)
		}
		whose, err := r.gateway(t).AuthenticateToken(t.Context(), &identitypb.AuthenticateTokenRequest{Secret: made.GetSecret()})
		if diff := cmp.Diff(want, whose.GetAdminToken().GetGrant(), protocmp.Transform()); diff != "" || err != nil {
			t.Errorf("%v: %s", err, diff)
		}
		own := bearer(t.Context(), made.GetSecret())
		_, err = client.CreateAdminToken(own, &identitypb.CreateAdminTokenRequest{})
		refused(t, err, codes.Unauthenticated, "not an administrator's")
		_, err = client.CreateJoinToken(own, &identitypb.CreateJoinTokenRequest{Account: "web"})
		refused(t, err, codes.Unauthenticated, "not an administrator's")
	}
	for path, bad := range map[string]*identitypb.Grant{
		"grant.role":          grant(0),
		"99 is not known":     grant(99),
		"grant.namespaces":    grant(administrator, "shop"),
		"grant.namespaces[1]": grant(viewer, "shop", "Not A Name"),
	} {
		_, err := client.CreateAdminToken(ctx, &identitypb.CreateAdminTokenRequest{Grant: bad})
		refused(t, err, codes.InvalidArgument, path)
	}
	// The others do not keep the last administrator's token from being the last.
	_, err := client.DeleteAdminToken(ctx, &identitypb.DeleteAdminTokenRequest{Id: "first"})
	refused(t, err, codes.InvalidArgument, "last administrator's token")
}

// A record that was written before there were roles is an administrator's.
func TestRecordsWithoutARoleAreAdministrators(t *testing.T) {
	store := memkv.New()
	r := start(t, store, "a")
	secret := "weft-admin.00000000000000aa.old"
	sum := sha256.Sum256([]byte(secret))
	raw, err := proto.Marshal(&identitypb.AdminTokenRecord{AdminToken: &identitypb.AdminToken{Id: "00000000000000aa"}, SecretSha256: sum[:]})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), "admintokens/default/00000000000000aa", raw, kv.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	ctx := bearer(t.Context(), secret)
	if _, err := r.anonymous(t, anybody).CreateAdminToken(ctx, &identitypb.CreateAdminTokenRequest{}); err != nil {
		t.Fatal(err)
	}
	all, err := r.gateway(t).ListAdminTokens(t.Context(), &identitypb.ListAdminTokensRequest{Filter: `object.grant.role == 3`})
	if err != nil || len(all.GetAdminTokens()) != 3 {
		t.Errorf("administrators: %v, %v; want three", all, err)
	}
}

func TestTokensAreListedInPages(t *testing.T) {
	r := start(t, memkv.New(), "a")
	client := r.gateway(t)
	want := []string{"made when the control plane was first started"}
	for _, name := range []string{"c", "a", "b", "d"} {
		if _, err := client.CreateAdminToken(t.Context(), &identitypb.CreateAdminTokenRequest{Description: name, Grant: grant(viewer)}); err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	var got []string
	req := &identitypb.ListAdminTokensRequest{PageSize: 2}
	for {
		page, err := client.ListAdminTokens(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range page.GetAdminTokens() {
			got = append(got, token.GetDescription())
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBindingsGiveRoles(t *testing.T) {
	r := start(t, memkv.New(), "a")
	client := r.gateway(t)
	id := &identitypb.RoleSubject{Subject: &identitypb.RoleSubject_SpiffeId{SpiffeId: "spiffe://weft.local/ns/ci/sa/deployer"}}
	group := &identitypb.RoleSubject{Subject: &identitypb.RoleSubject_OidcGroup{OidcGroup: "deployers"}}
	user := &identitypb.RoleSubject{Subject: &identitypb.RoleSubject_OidcSubject{OidcSubject: "deployers"}}
	bind := func(name string, subject *identitypb.RoleSubject, g *identitypb.Grant) error {
		_, err := client.CreateRoleBinding(t.Context(), &identitypb.CreateRoleBindingRequest{RoleBinding: &identitypb.RoleBinding{
			Metadata: &typepb.ObjectMeta{Name: name},
			Spec:     &identitypb.RoleBindingSpec{Subject: subject, Role: g.GetRole(), Namespaces: g.GetNamespaces()},
		}})
		return err
	}
	for name, b := range map[string]struct {
		subject *identitypb.RoleSubject
		grant   *identitypb.Grant
	}{"a": {id, grant(operator, "shop")}, "b": {id, grant(viewer)}, "c": {group, grant(viewer, "web")}} {
		if err := bind(name, b.subject, b.grant); err != nil {
			t.Fatal(err)
		}
	}
	resolve := func(subjects ...*identitypb.RoleSubject) []*identitypb.Grant {
		got, err := client.ResolveGrants(t.Context(), &identitypb.ResolveGrantsRequest{Subjects: subjects})
		if err != nil {
			t.Fatal(err)
		}
		return got.GetGrants()
	}
	for _, test := range []struct {
		subjects []*identitypb.RoleSubject
		want     []*identitypb.Grant
	}{
		{[]*identitypb.RoleSubject{id}, []*identitypb.Grant{grant(operator, "shop"), grant(viewer)}},
		{[]*identitypb.RoleSubject{user}, nil}, // a user is not the group of that name
		{[]*identitypb.RoleSubject{user, group}, []*identitypb.Grant{grant(viewer, "web")}},
		{[]*identitypb.RoleSubject{{}}, nil},
	} {
		if diff := cmp.Diff(test.want, resolve(test.subjects...), protocmp.Transform()); diff != "" {
			t.Errorf("%v: %s", test.subjects, diff)
		}
	}
	if _, err := client.DeleteRoleBinding(t.Context(), &identitypb.DeleteRoleBindingRequest{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if got := resolve(id); len(got) != 1 {
		t.Errorf("after the removal: %v", got)
	}
	for path, err := range map[string]error{
		"spec.subject.spiffeId":    bind("x", &identitypb.RoleSubject{Subject: &identitypb.RoleSubject_SpiffeId{SpiffeId: "nobody"}}, grant(viewer)),
		"spec.subject":             bind("x", nil, grant(viewer)),
		"spec.subject.oidcGroup":   bind("x", &identitypb.RoleSubject{Subject: &identitypb.RoleSubject_OidcGroup{OidcGroup: "a\nb"}}, grant(viewer)),
		"spec.role":                bind("x", id, grant(0)),
		"spec.namespaces":          bind("x", id, grant(administrator, "shop")),
		"spec.subject.oidcSubject": bind("x", &identitypb.RoleSubject{Subject: &identitypb.RoleSubject_OidcSubject{}}, grant(viewer)),
	} {
		refused(t, err, codes.InvalidArgument, path)
	}
	// Nobody but the gateway reads or writes bindings.
	_, err := r.anonymous(t, anybody).ListRoleBindings(bearer(t.Context(), fileToken(t, r.dir)), &identitypb.ListRoleBindingsRequest{})
	refused(t, err, codes.Unauthenticated)
}
