package credential

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/gateway/access"
	"github.com/weft-mesh/weft/services/gateway/credential/credentialtest"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

// knower is identity, without a network: it knows tokens that begin with "weft-admin." until they are revoked, and one binding.
type knower struct {
	grpc.ClientConnInterface
	asked   int
	down    bool
	slow    bool
	revoked bool
	expires *timestamppb.Timestamp
	bound   string
}

func (k *knower) Invoke(ctx context.Context, method string, in, out any, _ ...grpc.CallOption) error {
	k.asked++
	switch {
	case k.slow:
		<-ctx.Done()
		return ctx.Err()
	case k.down:
		return fault.New(fault.Unavailable, "store is away")
	case k.revoked && method == identitypb.IdentityService_AuthenticateToken_FullMethodName:
		return fault.New(fault.Anonymous, "no such token")
	}
	viewer := &identitypb.Grant{Role: identitypb.Role_ROLE_VIEWER}
	switch out := out.(type) {
	case *identitypb.AuthenticateTokenResponse:
		out.AdminToken = &identitypb.AdminToken{Id: in.(*identitypb.AuthenticateTokenRequest).GetSecret(), Grant: viewer, ExpireTime: k.expires}
	case *identitypb.ResolveGrantsResponse:
		for _, s := range in.(*identitypb.ResolveGrantsRequest).GetSubjects() {
			if k.bound != "" && (s.GetSpiffeId() == k.bound || s.GetOidcGroup() == k.bound || s.GetOidcSubject() == k.bound) {
				out.Grants = append(out.Grants, viewer, &identitypb.Grant{Role: 99}) // of a role that this version does not know
			}
		}
	}
	return nil
}

type rig struct {
	*Authenticator
	*knower
	ca  *testca.CA
	now time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{knower: &knower{}, ca: testca.New(t, "weft.local"), now: time.Now()}
	r.Authenticator = New(Deps{
		Identity: func() (grpc.ClientConnInterface, error) { return r.knower, nil },
		Trust:    r.ca.Source(t, spiffe.Account{Namespace: spiffe.SystemNamespace, Name: "gateway"}),
		Now:      func() time.Time { return r.now },
	})
	return r
}

func token(secret string) Presented {
	return Presented{Authorization: []string{"Bearer weft-admin." + secret}}
}

func (r *rig) reads(t *testing.T) error {
	_, err := r.Authenticate(t.Context(), token("x.y"), true)
	return err
}

func (r *rig) writes(t *testing.T) error {
	_, err := r.Authenticate(t.Context(), token("x.y"), false)
	return err
}

func TestConfirmedCredentialsAreBelievedForFiveSeconds(t *testing.T) {
	r := newRig(t)
	for range 3 {
		if err := r.writes(t); err != nil {
			t.Fatal(err)
		}
	}
	if r.asked != 1 {
		t.Errorf("identity was asked %d times, want once", r.asked)
	}
	r.revoked = true
	r.now = r.now.Add(fresh - time.Millisecond)
	if err := r.reads(t); err != nil {
		t.Errorf("before five seconds: %v", err)
	}
	r.now = r.now.Add(time.Millisecond)
	if err := r.reads(t); !fault.Is(err, fault.Anonymous) {
		t.Errorf("revoked, after five seconds: %v", err)
	}
	r.down = true
	if err := r.reads(t); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a revoked token while identity is away: %v", err)
	}
}

func TestReadsGoOnWhileIdentityIsAway(t *testing.T) {
	r := newRig(t)
	if err := r.reads(t); err != nil {
		t.Fatal(err)
	}
	r.down = true
	r.now = r.now.Add(fresh)
	for range 3 {
		if err := r.reads(t); err != nil {
			t.Errorf("a read: %v", err)
		}
	}
	if r.asked != 2 {
		t.Errorf("identity was asked %d times, want once more and then not for %s", r.asked, pause)
	}
	if err := r.writes(t); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a write: %v", err)
	}
	if _, err := r.Authenticate(t.Context(), token("never.seen"), true); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a token that was never confirmed: %v", err)
	}
	// It is asked again soon after it is back, so that what was revoked does not live on.
	r.down, r.revoked = false, true
	r.now = r.now.Add(pause)
	if err := r.reads(t); !fault.Is(err, fault.Anonymous) {
		t.Errorf("revoked, and identity is back: %v", err)
	}
}

// An identity that hangs, as it does while its store is away, holds a read up for a moment only.
func TestReadsDoNotWaitForAnIdentityThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		if err := r.reads(t); err != nil {
			t.Fatal(err)
		}
		r.slow = true
		r.now = r.now.Add(fresh)
		began := time.Now()
		if err := r.reads(t); err != nil || time.Since(began) != patience {
			t.Errorf("a read: %v after %s", err, time.Since(began))
		}
		if err := r.writes(t); !fault.Is(err, fault.Unavailable) {
			t.Errorf("a write: %v", err)
		}
	})
}

func TestGraceEnds(t *testing.T) {
	r := newRig(t)
	if err := r.reads(t); err != nil {
		t.Fatal(err)
	}
	r.down = true
	r.now = r.now.Add(grace - time.Millisecond)
	if err := r.reads(t); err != nil {
		t.Errorf("within the grace: %v", err)
	}
	r.now = r.now.Add(time.Millisecond)
	if err := r.reads(t); !fault.Is(err, fault.Unavailable) {
		t.Errorf("after it: %v", err)
	}
}

func TestNoCredentialOutlivesItself(t *testing.T) {
	r := newRig(t)
	r.expires = timestamppb.New(r.now.Add(time.Second))
	if err := r.reads(t); err != nil {
		t.Fatal(err)
	}
	r.down = true
	r.now = r.now.Add(time.Second)
	if err := r.reads(t); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a token that has expired: %v", err)
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	r := newRig(t)
	for i := range 3 * maxKnown {
		r.now = r.now.Add(time.Millisecond)
		if _, err := r.Authenticate(t.Context(), token(fmt.Sprintf("%d.x", i)), false); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(r.known); n != maxKnown {
		t.Errorf("%d are remembered, want %d", n, maxKnown)
	}
	asked := r.asked
	if _, err := r.Authenticate(t.Context(), token(fmt.Sprintf("%d.x", 3*maxKnown-1)), false); err != nil || r.asked != asked {
		t.Errorf("the newest is forgotten: %v", err)
	}
}

func TestSVIDs(t *testing.T) {
	r := newRig(t)
	present := func(ca *testca.CA, name string) Presented {
		m := ca.Source(t, spiffe.Account{Namespace: "ci", Name: name}).Load()
		certs, err := spiffe.Certificates(m.Certificate.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		return Presented{Certificates: certs}
	}
	r.bound = "spiffe://weft.local/ns/ci/sa/deployer"
	got, err := r.Authenticate(t.Context(), present(r.ca, "deployer"), false)
	want := access.Principal{ID: r.bound, Credential: adminpb.Credential_CREDENTIAL_SVID, Grants: []model.Grant{{Role: model.RoleViewer}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v: %s", err, diff)
	}
	got, err = r.Authenticate(t.Context(), present(r.ca, "other"), false)
	if err != nil || len(got.Grants) != 0 || got.ID != "spiffe://weft.local/ns/ci/sa/other" {
		t.Errorf("an SVID without a binding: %v, %v", got, err)
	}
	if _, err := r.Authenticate(t.Context(), present(testca.New(t, "weft.local"), "deployer"), false); !fault.Is(err, fault.Anonymous) {
		t.Errorf("an SVID of another authority: %v", err)
	}
	both := present(r.ca, "deployer")
	both.Authorization = token("x.y").Authorization
	if got, err := r.Authenticate(t.Context(), both, false); err != nil || got.Credential != adminpb.Credential_CREDENTIAL_TOKEN {
		t.Errorf("a token beside a certificate: %v, %v", got, err)
	}
}

func TestOIDCSubjectsAndGroupsAreBound(t *testing.T) {
	r := newRig(t)
	i := credentialtest.NewIssuer(t, time.Now)
	raw := Presented{Authorization: []string{"Bearer " + i.Token(t, nil)}}
	if _, err := r.Authenticate(t.Context(), raw, false); !fault.Is(err, fault.Anonymous) {
		t.Errorf("without an issuer: %v", err)
	}
	r.deps.OIDC = newOIDC(t, i)
	for _, r.bound = range []string{"u-17", "people"} {
		r.now = r.now.Add(fresh)
		got, err := r.Authenticate(t.Context(), raw, false)
		if err != nil || got.ID != "u-17" || got.Credential != adminpb.Credential_CREDENTIAL_OIDC || len(got.Grants) != 1 {
			t.Errorf("bound to %q: %v, %v", r.bound, got, err)
		}
	}
}

func TestBearer(t *testing.T) {
	for _, test := range []struct {
		values []string
		want   string
		bad    bool
	}{
		{[]string{"Bearer x"}, "x", false}, {[]string{"bearer  x "}, "x", false}, {nil, "", true},
		{[]string{"Bearer "}, "", true}, {[]string{"x"}, "", true}, {[]string{"Bearer a", "Bearer b"}, "", true},
	} {
		got, err := bearer(test.values)
		if got != test.want || (err != nil) != test.bad {
			t.Errorf("bearer(%q) = %q, %v", test.values, got, err)
		}
	}
}
