package jointoken_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/internal/testca"
)

func sample() jointoken.Token {
	return jointoken.Token{
		TrustDomain: "weft.local",
		Roots:       []jointoken.Fingerprint{{1}, {2}},
		Addresses: jointoken.Addresses{
			Identity:    []string{"10.0.0.1:9712", "[2001:db8::1]:9712"},
			Discovery:   []string{"discovery.example:9711"},
			Distributor: []string{},
			Telemetry:   []string{},
		},
		ID:      "4f1d",
		Secret:  "only-once",
		Expires: time.Unix(1_800_000_000, 0).UTC(),
	}
}

func TestRoundTrip(t *testing.T) {
	want := sample()
	text, err := jointoken.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(text, "weft1.") {
		t.Errorf("text %q does not begin with weft1.", text)
	}
	got, err := jointoken.Decode("  " + text + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("token after a round trip (-want +got):\n%s", diff)
	}
}

func TestEncodeRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*jointoken.Token)
		want   string
	}{
		{"no trust domain", func(k *jointoken.Token) { k.TrustDomain = "" }, "td:"},
		{"an ID for a trust domain", func(k *jointoken.Token) { k.TrustDomain = "spiffe://weft.local" }, "td:"},
		{"no root", func(k *jointoken.Token) { k.Roots = nil }, "roots:"},
		{"no address of identity", func(k *jointoken.Token) { k.Addresses.Identity = nil }, "addresses.identity:"},
		{"address without port", func(k *jointoken.Token) { k.Addresses.Telemetry = []string{"host"} }, "addresses.telemetry[0]:"},
		{"port 0", func(k *jointoken.Token) { k.Addresses.Discovery = []string{"host:0"} }, "addresses.discovery[0]:"},
		{"no id", func(k *jointoken.Token) { k.ID = "" }, "id:"},
		{"no secret", func(k *jointoken.Token) { k.Secret = "" }, "secret:"},
		{"no expiry", func(k *jointoken.Token) { k.Expires = time.Time{} }, "exp:"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token := sample()
			tt.change(&token)
			_, err := jointoken.Encode(token)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v does not name %q", err, tt.want)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, err := jointoken.Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	body, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(good, "weft1."))
	if err != nil {
		t.Fatal(err)
	}
	of := func(json string) string { return "weft1." + base64.RawURLEncoding.EncodeToString([]byte(json)) }
	tests := []struct {
		name, text, want string
	}{
		{"empty", " ", "empty"},
		{"another version", "weft2." + good[6:], "begin with"},
		{"cut", good[:len(good)-9], "cut"},
		{"padded", good + "==", "base64url"},
		{"not JSON", of("hello"), "JSON"},
		{"unknown field", of(strings.Replace(string(body), `"td"`, `"tx"`, 1)), "JSON"},
		{"wrong kind", of(strings.Replace(string(body), `"weft.local"`, `7`, 1)), `"td"`},
		{"two objects", of(string(body) + string(body)), "follows"},
		{"other case", of(strings.Replace(string(body), `"td"`, `"TD"`, 1)), "way"},
		{"spaces inside", of(" " + string(body)), "way"},
		{"short hash", of(strings.Replace(string(body), "0100", "01", 1)), "roots[0]"},
		{"too long", "weft1." + strings.Repeat("A", 1<<17), "long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := jointoken.Decode(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v does not say %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "only-once") {
				t.Errorf("error %q holds the secret", err)
			}
		})
	}
}

func TestPrintingKeepsTheSecret(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, sample()); strings.Contains(got, "only-once") {
			t.Errorf("%s prints the secret: %s", verb, got)
		}
	}
}

func TestAnchor(t *testing.T) {
	ca, foreign := testca.New(t, "weft.local"), testca.New(t, "weft.local")
	token := sample()
	token.Roots = append(token.Roots, jointoken.FingerprintOf(ca.Root()))
	leaf := ca.SVID(t, spiffe.Account{Namespace: spiffe.SystemNamespace, Name: "identity"}, testca.WithRoot())
	chain, err := spiffe.Certificates(leaf.Certificate.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := token.Anchor(chain); err != nil || !got.Equal(ca.Root()) {
		t.Errorf("anchor is %v (%v), want the root", got, err)
	}
	if _, err := token.Anchor(chain[:1]); err == nil {
		t.Error("a chain without its root has an anchor")
	}
	if token.Trusts(foreign.Root()) {
		t.Error("a foreign root is trusted")
	}
}

func TestExpired(t *testing.T) {
	token := sample()
	if token.Expired(token.Expires.Add(-time.Second)) {
		t.Error("expired a second early")
	}
	if !token.Expired(token.Expires) {
		t.Error("not expired at its end")
	}
}
