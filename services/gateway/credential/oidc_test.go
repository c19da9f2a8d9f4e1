package credential

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/services/gateway/credential/credentialtest"
	"github.com/weft-mesh/weft/services/internal/fault"
)

func newOIDC(t *testing.T, i *credentialtest.Issuer, change ...func(*OIDCConfig)) *OIDC {
	t.Helper()
	cfg := OIDCConfig{Issuer: i.URL, Audience: "weft", SubjectClaim: "sub", GroupsClaim: "groups"}
	for _, f := range change {
		f(&cfg)
	}
	o, err := NewOIDC(cfg, i.Now)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestGoodTokens(t *testing.T) {
	i := credentialtest.NewIssuer(t, time.Now)
	for _, test := range []struct {
		name   string
		config func(*OIDCConfig)
		claims map[string]any
		want   Claims
	}{
		{"as usual", func(*OIDCConfig) {}, nil, Claims{Subject: "u-17", Groups: []string{"deployers", "people"}}},
		{"other claims", func(c *OIDCConfig) { c.SubjectClaim, c.GroupsClaim = "email", "team" }, map[string]any{"team": "shop"}, Claims{Subject: "ann@example.org", Groups: []string{"shop"}}},
		{"no groups", func(*OIDCConfig) {}, map[string]any{"groups": 7}, Claims{Subject: "u-17"}},
		{"one of several audiences", func(*OIDCConfig) {}, map[string]any{"aud": []string{"other", "weft"}}, Claims{Subject: "u-17", Groups: []string{"deployers", "people"}}},
	} {
		got, err := newOIDC(t, i, test.config).Verify(t.Context(), i.Token(t, test.claims))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got.Expiry.Before(time.Now()) {
			t.Errorf("%s: ends %v", test.name, got.Expiry)
		}
		got.Expiry = time.Time{}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestBadTokensAreRefusedReadably(t *testing.T) {
	i, stranger := credentialtest.NewIssuer(t, time.Now), credentialtest.NewIssuer(t, time.Now)
	forged := &credentialtest.Issuer{Server: i.Server, Key: credentialtest.NewKey(t, "one"), Now: time.Now} // says that it is i, and is not
	past := time.Now().Add(-time.Hour).Unix()
	tampered := strings.Split(i.Token(t, nil), ".")
	tampered[1] = strings.Split(i.Token(t, map[string]any{"sub": "root"}), ".")[1]
	for _, test := range []struct {
		name, token, want string
		config            func(*OIDCConfig)
	}{
		{"wrong audience", i.Token(t, map[string]any{"aud": "others"}), `is for audience others; this gateway is "weft"`, nil},
		{"expired", i.Token(t, map[string]any{"exp": past}), "expired at ", nil},
		{"not yet", i.Token(t, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), "not before", nil},
		{"unknown issuer", stranger.Token(t, nil), "is of issuer \"" + stranger.URL, nil},
		{"unknown key", forged.Token(t, nil), "is not good", nil},
		{"tampered", strings.Join(tampered, "."), "is not good", nil},
		{"unsigned", "eyJhbGciOiJub25lIn0." + strings.Split(i.Token(t, nil), ".")[1] + ".", "is not good", nil},
		{"no token at all", "a.b.c", "no JSON web token", nil},
		{"no subject", i.Token(t, map[string]any{"sub": ""}), `no claim "sub"`, nil},
		{"address that nobody verified", i.Token(t, map[string]any{"email_verified": false}), "not verified", func(c *OIDCConfig) { c.SubjectClaim = "email" }},
	} {
		if test.config == nil {
			test.config = func(*OIDCConfig) {}
		}
		_, err := newOIDC(t, i, test.config).Verify(t.Context(), test.token)
		if !fault.Is(err, fault.Anonymous) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want a refusal that says %q", test.name, err, test.want)
		}
	}
}

// An issuer that is away is no reason to call its tokens bad; once its keys are known it is not asked again.
func TestIssuerAway(t *testing.T) {
	now := time.Now()
	i := credentialtest.NewIssuer(t, func() time.Time { return now })
	o := newOIDC(t, i)
	i.Down.Store(true)
	if _, err := o.Verify(t.Context(), i.Token(t, nil)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("while it is away: %v", err)
	}
	i.Down.Store(false)
	if _, err := o.Verify(t.Context(), i.Token(t, nil)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("it is asked by every call: %v", err)
	}
	now = now.Add(pause)
	for range 3 {
		if _, err := o.Verify(t.Context(), i.Token(t, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if n := i.Asked.Load(); n != 1 {
		t.Errorf("keys were asked for %d times, want once", n)
	}
	i.Down.Store(true)
	if _, err := o.Verify(t.Context(), i.Token(t, nil)); err != nil {
		t.Errorf("with keys that are known: %v", err)
	}
	i.Key = credentialtest.NewKey(t, "two")
	if _, err := o.Verify(t.Context(), i.Token(t, nil)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a new key that cannot be fetched: %v", err)
	}
	i.Down.Store(false)
	if _, err := o.Verify(t.Context(), i.Token(t, nil)); err != nil {
		t.Errorf("a new key: %v", err)
	}
}

func TestOIDCConfiguration(t *testing.T) {
	good := OIDCConfig{Issuer: "https://id.example.org/realm", Audience: "weft", SubjectClaim: "sub", GroupsClaim: "groups"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	if err := (OIDCConfig{}).Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*OIDCConfig){
		"oidc-issuer": func(c *OIDCConfig) { c.Issuer = "http://id.example.org" }, "oidc-issuer is": func(c *OIDCConfig) { c.Issuer = "nonsense" },
		"oidc-audience": func(c *OIDCConfig) { c.Audience = "" }, "oidc-subject-claim": func(c *OIDCConfig) { c.SubjectClaim = "" },
		"need an oidc-issuer": func(c *OIDCConfig) { c.Issuer = "" },
	} {
		bad := good
		change(&bad)
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good.CAFile = "/no/such/file"
	if _, err := NewOIDC(good, time.Now); err == nil {
		t.Error("a missing file of authorities is accepted")
	}
}
