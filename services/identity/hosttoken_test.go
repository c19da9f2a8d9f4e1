package identity_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/identity"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

func withGateway(addresses ...string) option {
	return func(_ *identity.Config, d *identity.Deps) { d.Gateway = func() []string { return addresses } }
}

func (r *replica) hostToken(t *testing.T) *identitypb.CreateHostTokenResponse {
	t.Helper()
	resp, err := r.gateway(t).CreateHostToken(t.Context(), &identitypb.CreateHostTokenRequest{
		Scope: &identitypb.HostScope{Host: "b", Namespaces: []string{"shop"}, Accounts: []string{"web"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// A host trusts only what its token names, and what it gets is its credential.
func TestHostJoins(t *testing.T) {
	r := start(t, memkv.New(), "a", withGateway("10.0.0.1:9701", "10.0.0.1:9701"))
	minted := r.hostToken(t)
	token, err := jointoken.DecodeHost(minted.GetToken())
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := jointoken.TLS(token, td(), "identity")
	if err != nil {
		t.Fatal(err)
	}
	client := r.client(t, cfg)
	got, err := client.JoinHost(t.Context(), &identitypb.JoinHostRequest{Token: minted.GetToken()})
	if err != nil {
		t.Fatal(err)
	}
	roots, err := spiffe.Certificates(got.GetX509Authorities())
	if err != nil || len(roots) == 0 || !token.Trusts(roots[0]) {
		t.Errorf("the bundle (%d authorities, %v) is not the one that the token names", len(roots), err)
	}
	if got.GetTrustDomain() != "weft.local" || !slices.Equal(got.GetGatewayAddresses(), []string{"10.0.0.1:9701"}) || got.GetCredentialId() != minted.GetCredentialId() {
		t.Errorf("the host is told %q, %q, credential %q", got.GetTrustDomain(), got.GetGatewayAddresses(), got.GetCredentialId())
	}
	who, err := r.gateway(t).AuthenticateToken(t.Context(), &identitypb.AuthenticateTokenRequest{Secret: got.GetSecret()})
	if err != nil || who.GetAdminToken().GetHost().GetHost() != "b" || who.GetAdminToken().GetHost().GetAccounts()[0] != "web" {
		t.Errorf("the credential is that of %v (%v), want host b", who, err)
	}
	// Identity itself takes no host's credential: only the gateway knows what one is good for.
	_, err = client.CreateJoinToken(bearer(t.Context(), got.GetSecret()), &identitypb.CreateJoinTokenRequest{Account: "web"})
	refused(t, err, codes.Unauthenticated, "gateway only")
	_, err = client.JoinHost(t.Context(), &identitypb.JoinHostRequest{Token: minted.GetToken()})
	refused(t, err, codes.PermissionDenied, "used already")
	if _, err := r.gateway(t).DeleteAdminToken(t.Context(), &identitypb.DeleteAdminTokenRequest{Id: got.GetCredentialId()}); err != nil {
		t.Errorf("the credential cannot be revoked: %v", err)
	}
	_, err = r.gateway(t).AuthenticateToken(t.Context(), &identitypb.AuthenticateTokenRequest{Secret: got.GetSecret()})
	refused(t, err, codes.Unauthenticated, "deleted")
	_, err = client.JoinHost(t.Context(), &identitypb.JoinHostRequest{Token: minted.GetToken()})
	refused(t, err, codes.PermissionDenied, "used already")
}

func TestHostTokensThatAreRefused(t *testing.T) {
	r := start(t, memkv.New(), "a")
	good := r.hostToken(t).GetToken()
	change := func(f func(*jointoken.Token)) string {
		token, err := jointoken.DecodeHost(good)
		if err != nil {
			t.Fatal(err)
		}
		f(&token)
		text, err := jointoken.EncodeHost(token)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, tt := range map[string]struct{ token, says string }{
		"of a workload":           {r.token(t, "web"), "one workload"},
		"of another trust domain": {change(func(k *jointoken.Token) { k.TrustDomain = "other.local" }), `trust domain "other.local"`},
		"guessed secret":          {change(func(k *jointoken.Token) { k.Secret = "x" }), "wrong secret"},
		"another key":             {change(func(k *jointoken.Token) { k.ID = "../admintokens/default/first" }), "never minted"},
		"unknown, past its time": {change(func(k *jointoken.Token) {
			k.ID, k.Expires = "0123456789abcdef", time.Unix(1, 0)
		}), "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.anonymous(t, anybody).JoinHost(t.Context(), &identitypb.JoinHostRequest{Token: tt.token})
			refused(t, err, codes.PermissionDenied, tt.says)
		})
	}
	for name, tt := range map[string]struct {
		req  *identitypb.CreateHostTokenRequest
		says string
	}{
		"nothing":    {&identitypb.CreateHostTokenRequest{}, "scope.host"},
		"everywhere": {&identitypb.CreateHostTokenRequest{Scope: &identitypb.HostScope{Host: "b"}}, "scope.namespaces"},
		"the control plane": {&identitypb.CreateHostTokenRequest{
			Scope: &identitypb.HostScope{Host: "b", Namespaces: []string{"weft-system"}},
		}, "scope.namespaces[0]"},
		"a strange account": {&identitypb.CreateHostTokenRequest{
			Scope: &identitypb.HostScope{Host: "b", Namespaces: []string{"shop"}, Accounts: []string{"A b"}},
		}, "scope.accounts[0]"},
		"for ever": {&identitypb.CreateHostTokenRequest{
			Scope: &identitypb.HostScope{Host: "b", Namespaces: []string{"shop"}}, Ttl: durationpb.New(25 * time.Hour),
		}, "ttl"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.gateway(t).CreateHostToken(t.Context(), tt.req)
			refused(t, err, codes.InvalidArgument, tt.says)
		})
	}
	_, err := r.anonymous(t, anybody).CreateHostToken(t.Context(), &identitypb.CreateHostTokenRequest{})
	refused(t, err, codes.Unauthenticated, "bearer token")
}

// Of many who redeem one token at two replicas at once, exactly one gets the credential.
func TestOneHostTokenMakesOneCredential(t *testing.T) {
	store := memkv.New()
	a := start(t, store, "a")
	b := start(t, store, "b", withConvergence(always{}))
	token := a.hostToken(t).GetToken()
	errs := make(chan error, 8)
	var wg sync.WaitGroup
	for i := range cap(errs) {
		client := []*replica{a, b}[i%2].anonymous(t, anybody)
		wg.Go(func() {
			_, err := client.JoinHost(t.Context(), &identitypb.JoinHostRequest{Token: token})
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	won := 0
	for err := range errs {
		if err == nil {
			won++
			continue
		}
		refused(t, err, codes.PermissionDenied, "used already")
	}
	if won != 1 {
		t.Errorf("%d got the credential, want 1", won)
	}
}
