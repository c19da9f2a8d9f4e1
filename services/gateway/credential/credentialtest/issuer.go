package credentialtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Issuer is an OIDC issuer.
type Issuer struct {
	*httptest.Server
	// Key signs tokens and is what the issuer publishes.
	Key jose.JSONWebKey
	// Down makes it answer nothing but errors.
	Down atomic.Bool
	// Asked counts requests for keys.
	Asked atomic.Int32
	// Now is its clock.
	Now func() time.Time
}

// NewIssuer starts an issuer, which ends with the test.
func NewIssuer(t *testing.T, now func() time.Time) *Issuer {
	t.Helper()
	i := &Issuer{Key: NewKey(t, "one"), Now: now}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token",
			"id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.Asked.Add(1)
		i.answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.Key.Public()}})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// NewKey makes a signing key.
func NewKey(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: key, KeyID: id, Algorithm: "ES256", Use: "sig"}
}

func (i *Issuer) answer(w http.ResponseWriter, body any) {
	if i.Down.Load() {
		http.Error(w, "out of order", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// Token signs claims; those that are not given are good.
func (i *Issuer) Token(t *testing.T, change map[string]any) string {
	t.Helper()
	claims := map[string]any{
		"iss": i.URL, "aud": "weft", "sub": "u-17", "email": "ann@example.org", "groups": []string{"deployers", "people"},
		"iat": i.Now().Unix(), "exp": i.Now().Add(time.Hour).Unix(),
	}
	for k, v := range change {
		claims[k] = v
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.Key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
