package identity_test

import (
	"crypto/elliptic"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

func recode(t *testing.T, text string, change func(*jointoken.Token)) string {
	t.Helper()
	token, err := jointoken.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	change(&token)
	if text, err = jointoken.Encode(token); err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTokensThatAreRefused(t *testing.T) {
	r := start(t, memkv.New(), "a")
	good := r.token(t, "web")
	used := r.token(t, "web")
	r.join(t, used)
	foreign := start(t, memkv.New(), "elsewhere").token(t, "web")
	tests := []struct {
		name, token string
		says        string
	}{
		{"used", used, "used already"},
		{"of another control plane", foreign, "never minted it"},
		{"of another trust domain", recode(t, good, func(k *jointoken.Token) { k.TrustDomain = "other.local" }), `trust domain "other.local"`},
		{"guessed secret", recode(t, good, func(k *jointoken.Token) { k.Secret = strings.Repeat("A", 43) }), "wrong secret"},
		{"unknown and past its time", recode(t, good, func(k *jointoken.Token) {
			k.ID, k.Expires = "0123456789abcdef", time.Unix(1, 0)
		}), "expired"},
		{"id that names another key", recode(t, good, func(k *jointoken.Token) { k.ID = "../admintokens/default/first" }), "never minted"},
		{"not a token", "hello", "weft1."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, csr := newCSR(t, elliptic.P256())
			_, err := issue(t, r.anonymous(t, anybody), &identitypb.IssueX509SVIDRequest{Csr: csr, JoinToken: tt.token})
			refused(t, err, codes.PermissionDenied, tt.says)
		})
	}
	// A token that says that it lives longer than its record is believed the record.
	r.join(t, recode(t, good, func(k *jointoken.Token) { k.Expires = k.Expires.Add(time.Hour) }))
}

// TestID1_OneTokenMakesOneIdentity: of many who redeem one token at two replicas at once, exactly one gets an SVID.
func TestID1_OneTokenMakesOneIdentity(t *testing.T) {
	store := memkv.New()
	a := start(t, store, "a")
	b := start(t, store, "b", withConvergence(always{}))
	waitSigns(t, b)
	token := a.token(t, "web")
	errs := make(chan error, 16)
	var wg sync.WaitGroup
	for i := range cap(errs) {
		client := []*replica{a, b}[i%2].anonymous(t, anybody)
		_, csr := newCSR(t, elliptic.P256())
		wg.Go(func() {
			_, err := issue(t, client, &identitypb.IssueX509SVIDRequest{Csr: csr, JoinToken: token})
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
		t.Errorf("%d got an SVID, want 1", won)
	}
}

func TestCreateJoinTokenRefuses(t *testing.T) {
	r := start(t, memkv.New(), "a")
	client := r.gateway(t)
	tests := []struct {
		name string
		req  *identitypb.CreateJoinTokenRequest
		says string
	}{
		{"no account", &identitypb.CreateJoinTokenRequest{}, "account:"},
		{"upper case", &identitypb.CreateJoinTokenRequest{Account: "Web"}, "account:"},
		{"path in the namespace", &identitypb.CreateJoinTokenRequest{Namespace: "a/sa/b", Account: "web"}, "namespace:"},
		{"bad service", &identitypb.CreateJoinTokenRequest{Account: "web", Services: []string{"ok", "not ok"}}, "services[1]:"},
		{"too many services", &identitypb.CreateJoinTokenRequest{Account: "web", Services: make([]string, 65)}, "services:"},
		{"too short", &identitypb.CreateJoinTokenRequest{Account: "web", Ttl: durationpb.New(time.Millisecond)}, "ttl: 1ms is too short"},
		{"negative", &identitypb.CreateJoinTokenRequest{Account: "web", Ttl: durationpb.New(-time.Hour)}, "ttl:"},
		{"too long", &identitypb.CreateJoinTokenRequest{Account: "web", Ttl: durationpb.New(25 * time.Hour)}, "at most 24h"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := client.CreateJoinToken(t.Context(), tt.req)
			refused(t, err, codes.InvalidArgument, tt.says)
		})
	}
}

func TestCreateJoinToken(t *testing.T) {
	r := start(t, memkv.New(), "a")
	resp, err := r.gateway(t).CreateJoinToken(t.Context(), &identitypb.CreateJoinTokenRequest{
		Namespace: "weft-system", Account: "policy", Ttl: durationpb.New(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	token, err := jointoken.Decode(resp.GetToken())
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(token.Expires); left > time.Hour || left < 59*time.Minute {
		t.Errorf("token works for %s, want an hour", left)
	}
	if !token.Expires.Equal(resp.GetExpireTime().AsTime()) {
		t.Errorf("token says %s, the answer %s", token.Expires, resp.GetExpireTime().AsTime())
	}
	if want := "spiffe://weft.local/ns/weft-system/sa/policy"; resp.GetSpiffeId() != want {
		t.Errorf("token is for %q, want %q", resp.GetSpiffeId(), want)
	}
	for _, root := range r.source.Load().Bundle.X509Authorities() {
		if !token.Trusts(root) {
			t.Error("token does not name an authority of the bundle")
		}
	}
	if m := r.join(t, resp.GetToken()); m.ID.String() != resp.GetSpiffeId() {
		t.Errorf("joined as %q", m.ID)
	}
}

// Nothing that is secret is stored or logged.
func TestSecretsStayWithTheirHolders(t *testing.T) {
	store := memkv.New()
	core, logs := observer.New(zap.DebugLevel)
	r := start(t, store, "a", withLog(zap.New(core)))
	text := r.token(t, "web")
	spare := r.token(t, "spare")
	admin, err := r.gateway(t).CreateAdminToken(t.Context(), &identitypb.CreateAdminTokenRequest{Description: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	r.join(t, text)
	var secrets []string
	for _, text := range []string{text, spare} {
		token, err := jointoken.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, token.Secret, text)
	}
	secrets = append(secrets, admin.GetSecret())
	entries, _, err := store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var seen strings.Builder
	for _, e := range entries {
		seen.WriteString(e.Key + string(e.Value))
	}
	for _, e := range logs.All() {
		seen.WriteString(e.Message)
		for _, v := range e.ContextMap() {
			seen.WriteString(strings.TrimSpace(toText(v)))
		}
	}
	for i, secret := range secrets {
		if strings.Contains(seen.String(), secret) {
			t.Errorf("secret %d is stored or logged", i)
		}
	}
}
