package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

func TestAuditRows(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	ref := func(kind, namespace, name string) *typepb.ObjectRef {
		return &typepb.ObjectRef{Kind: kind, Namespace: namespace, Name: name}
	}
	for _, test := range []struct {
		event *adminpb.AuditEvent
		want  []string
	}{
		{&adminpb.AuditEvent{
			Principal: "first", Credential: adminpb.Credential_CREDENTIAL_TOKEN, Role: identitypb.Role_ROLE_ADMINISTRATOR, Address: "10.0.0.1",
			Method: "/weft.policy.v1alpha1.PolicyService/CreateRoute", Objects: []*typepb.ObjectRef{ref("Route", "shop", "a")}, Code: "OK", RepeatedAnswer: true,
		}, []string{"first (token)", "administrator", "10.0.0.1", "CreateRoute", "Route shop/a", "OK (repeated)"}},
		{&adminpb.AuditEvent{Method: "x", Code: "Unauthenticated", Message: "who is it"}, []string{"-", "-", "-", "x", "-", "Unauthenticated: who is it"}},
		{&adminpb.AuditEvent{Objects: []*typepb.ObjectRef{ref("AdminToken", "", "1"), ref("A", "n", "2"), ref("A", "n", "3"), ref("A", "n", "4"), ref("A", "n", "5")}},
			[]string{"-", "-", "-", "", "AdminToken 1, A n/2, A n/3, and 2 more", ""}},
	} {
		test.event.Time = timestamppb.New(at)
		if diff := cmp.Diff(append([]string{"2026-03-01 12:00:00"}, test.want...), auditRow(test.event)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWrongCredentials(t *testing.T) {
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"token", "admin", "create", "--role", "king", "x"}, "allowed are viewer, operator, administrator"},
		{[]string{"--cert", "/no/such/file", "--key", "/no/such/key", "--ca", "/no/such/bundle", "whoami"}, "/no/such/bundle"},
	} {
		out, code := weft(t, test.args...)
		if code != exitUsage || !strings.Contains(out, test.says) {
			t.Errorf("%q: exit code %d, %q does not say %q", test.args, code, out, test.says)
		}
	}
}
