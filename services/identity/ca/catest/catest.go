// Package catest is the suite that every certificate authority of identity passes. It is only for tests.
package catest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/weft-mesh/weft/services/identity/ca"
)

// Run tests the authorities that open makes. Each is of the trust domain that it is given.
func Run(t *testing.T, open func(t *testing.T, td spiffeid.TrustDomain) ca.Authority) {
	td := spiffeid.RequireTrustDomainFromString("suite.local")
	s := suite{td: td, id: spiffeid.RequireFromString("spiffe://suite.local/ns/default/sa/web"), open: open}
	t.Run("chain", s.chain)
	t.Run("profile", s.profile)
	t.Run("names", s.names)
	t.Run("validity", s.validity)
	t.Run("serials", s.serials)
	t.Run("refusals", s.refusals)
}

type suite struct {
	td   spiffeid.TrustDomain
	id   spiffeid.ID
	open func(*testing.T, spiffeid.TrustDomain) ca.Authority
}

func (s suite) sign(t *testing.T, a ca.Authority, key crypto.PublicKey, ttl time.Duration) []*x509.Certificate {
	t.Helper()
	chain, err := a.Sign(t.Context(), ca.Request{ID: s.id, PublicKey: key, TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	if len(chain) == 0 {
		t.Fatal("chain is empty")
	}
	return chain
}

func (s suite) chain(t *testing.T) {
	a, key := s.open(t, s.td), ECKey(t, elliptic.P256())
	chain := s.sign(t, a, key, time.Hour)
	bundle := x509bundle.FromX509Authorities(s.td, a.Roots())
	id, _, err := x509svid.Verify(chain, bundle)
	if err != nil {
		t.Fatalf("chain does not verify against the roots: %v", err)
	}
	if id != s.id {
		t.Errorf("SVID names %q, want %q", id, s.id)
	}
	if !key.Equal(chain[0].PublicKey) {
		t.Error("SVID is for another key")
	}
	for i, cert := range chain {
		if bundle.HasX509Authority(cert) {
			t.Errorf("certificate %d of the chain is a root", i)
		}
	}
}

// profile is section 3 and 4 of the X.509-SVID specification.
func (s suite) profile(t *testing.T) {
	a := s.open(t, s.td)
	chain := s.sign(t, a, ECKey(t, elliptic.P384()), time.Hour)
	leaf := chain[0]
	switch {
	case len(leaf.URIs) != 1 || leaf.URIs[0].String() != s.id.String():
		t.Errorf("URI SANs are %v, want exactly %q", leaf.URIs, s.id)
	case len(leaf.DNSNames)+len(leaf.EmailAddresses)+len(leaf.IPAddresses) != 0:
		t.Error("there are SANs other than the URI")
	case leaf.IsCA || !leaf.BasicConstraintsValid:
		t.Error("basic constraints do not say CA:FALSE")
	case leaf.KeyUsage != x509.KeyUsageDigitalSignature:
		t.Errorf("key usage is %b, want digitalSignature only", leaf.KeyUsage)
	}
	want := map[x509.ExtKeyUsage]bool{x509.ExtKeyUsageServerAuth: true, x509.ExtKeyUsageClientAuth: true}
	for _, usage := range leaf.ExtKeyUsage {
		delete(want, usage)
	}
	if len(want) != 0 || len(leaf.ExtKeyUsage) != 2 {
		t.Errorf("extended key usage is %v, want server and client authentication", leaf.ExtKeyUsage)
	}
	for i, cert := range append(chain[1:], a.Roots()...) {
		if !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0 {
			t.Errorf("signing certificate %d is not marked as one", i)
		}
		if len(cert.URIs) > 1 || len(cert.URIs) == 1 && cert.URIs[0].Path != "" {
			t.Errorf("signing certificate %d names %v; at most the trust domain itself is allowed", i, cert.URIs)
		}
	}
}

// names are those that were asked for, beside the URI.
func (s suite) names(t *testing.T) {
	a := s.open(t, s.td)
	want := []string{"gateway.weft-system.suite.local"}
	chain, err := a.Sign(t.Context(), ca.Request{ID: s.id, DNSNames: want, PublicKey: ECKey(t, elliptic.P256()), TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if leaf := chain[0]; !slices.Equal(leaf.DNSNames, want) || len(leaf.URIs) != 1 {
		t.Errorf("SANs are %v and %v, want one URI and %v", leaf.URIs, leaf.DNSNames, want)
	}
	id, _, err := x509svid.Verify(chain, x509bundle.FromX509Authorities(s.td, a.Roots()))
	if err != nil || id != s.id {
		t.Errorf("it verifies as %q, %v; want %q", id, err, s.id)
	}
	roots := x509.NewCertPool()
	for _, root := range a.Roots() {
		roots.AddCert(root)
	}
	middle := x509.NewCertPool()
	for _, cert := range chain[1:] {
		middle.AddCert(cert)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: want[0], Roots: roots, Intermediates: middle}); err != nil {
		t.Errorf("a client that knows the host name only: %v", err)
	}
}

func (s suite) validity(t *testing.T) {
	a, key := s.open(t, s.td), ECKey(t, elliptic.P256())
	before := time.Now().Truncate(time.Second)
	leaf := s.sign(t, a, key, time.Hour)[0]
	after := time.Now().Add(time.Second)
	if from := leaf.NotBefore.Add(ca.Backdate); from.Before(before) || from.After(after) {
		t.Errorf("validity begins at %s, want %s before now", leaf.NotBefore, ca.Backdate)
	}
	if end := leaf.NotAfter.Add(-time.Hour); end.Before(before) || end.After(after) {
		t.Errorf("validity ends at %s, want in an hour", leaf.NotAfter)
	}
	leaf = s.sign(t, a, key, 200*365*24*time.Hour)[0]
	if leaf.NotAfter.After(a.NotAfter()) {
		t.Errorf("leaf ends at %s, after its issuer at %s", leaf.NotAfter, a.NotAfter())
	}
	for _, root := range a.Roots() {
		if a.NotAfter().After(root.NotAfter) {
			t.Errorf("authority says %s, but its root ends at %s", a.NotAfter(), root.NotAfter)
		}
	}
}

func (s suite) serials(t *testing.T) {
	a, key := s.open(t, s.td), ECKey(t, elliptic.P256())
	seen := map[string]bool{}
	for range 16 {
		serial := s.sign(t, a, key, time.Hour)[0].SerialNumber
		if serial.Sign() <= 0 || serial.BitLen() < 64 || seen[serial.String()] {
			t.Fatalf("serial number %s is short or used twice", serial)
		}
		seen[serial.String()] = true
	}
}

func (s suite) refusals(t *testing.T) {
	a := s.open(t, s.td)
	good := ECKey(t, elliptic.P256())
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	foreign := spiffeid.RequireFromString("spiffe://other.local/ns/default/sa/web")
	for name, r := range map[string]ca.Request{
		"another trust domain": {ID: foreign, PublicKey: good, TTL: time.Hour},
		"the trust domain":     {ID: s.td.ID(), PublicKey: good, TTL: time.Hour},
		"no ID":                {PublicKey: good, TTL: time.Hour},
		"no key":               {ID: s.id, TTL: time.Hour},
		"no lifetime":          {ID: s.id, PublicKey: good},
		"P-521":                {ID: s.id, PublicKey: ECKey(t, elliptic.P521()), TTL: time.Hour},
		"Ed25519":              {ID: s.id, PublicKey: ed, TTL: time.Hour},
		"short RSA":            {ID: s.id, PublicKey: rsaKey(t, 1024), TTL: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := a.Sign(t.Context(), r); err == nil {
				t.Error("was signed")
			}
		})
	}
	s.sign(t, a, rsaKey(t, 2048), time.Hour)
}

// ECKey is the public half of a new key.
func ECKey(t *testing.T, curve elliptic.Curve) *ecdsa.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey
}

// rsaKey has a modulus of that many bits; nobody needs its private half, so no time is spent on primes.
func rsaKey(t *testing.T, bits int) *rsa.PublicKey {
	t.Helper()
	p, err := rand.Prime(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return &rsa.PublicKey{N: p, E: 65537}
}
