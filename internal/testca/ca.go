package testca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// CA is one self-made authority of a trust domain. It is safe for concurrent use.
type CA struct {
	td   spiffeid.TrustDomain
	key  *ecdsa.PrivateKey
	root *x509.Certificate
}

// New makes an authority of a trust domain, for example "weft.local". Two authorities of the same trust domain do not trust
// each other: the second is a foreign CA to the first.
func New(tb testing.TB, trustDomain string) *CA {
	tb.Helper()
	td, err := spiffeid.TrustDomainFromString(trustDomain)
	if err != nil {
		tb.Fatalf("trust domain %q: %v", trustDomain, err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial(tb),
		Subject:               pkix.Name{CommonName: "test root of " + trustDomain},
		NotBefore:             begin(),
		NotAfter:              end(),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		URIs:                  []*url.URL{td.ID().URL()},
	}
	key := newKey(tb)
	return &CA{td: td, key: key, root: sign(tb, tmpl, tmpl, key, key)}
}

// TrustDomain of the authority.
func (c *CA) TrustDomain() spiffeid.TrustDomain { return c.td }

// Root is the certificate of the authority.
func (c *CA) Root() *x509.Certificate { return c.root }

// Bundle holds the root. Every call returns a bundle of its own.
func (c *CA) Bundle() *x509bundle.Bundle {
	return x509bundle.FromX509Authorities(c.td, []*x509.Certificate{c.root})
}

// ID is the SPIFFE ID of an account.
func (c *CA) ID(tb testing.TB, account spiffe.Account) spiffeid.ID {
	tb.Helper()
	id, err := spiffe.ID(c.td, account)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

// SVID makes an SVID for an account, with the CA's bundle. The options make it a bad one.
func (c *CA) SVID(tb testing.TB, account spiffe.Account, opts ...Option) *spiffe.Material {
	tb.Helper()
	id := c.ID(tb, account)
	o := options{
		leaf: &x509.Certificate{
			SerialNumber:          serial(tb),
			NotBefore:             begin(),
			NotAfter:              end(),
			BasicConstraintsValid: true,
			KeyUsage:              x509.KeyUsageDigitalSignature,
			ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			URIs:                  []*url.URL{id.URL()},
		},
		bundle: c.Bundle(),
	}
	for _, opt := range opts {
		opt(tb, &o)
	}
	key := newKey(tb)
	leaf := sign(tb, o.leaf, c.root, key, c.key)
	chain := [][]byte{leaf.Raw}
	if o.withRoot {
		chain = append(chain, c.root.Raw)
	}
	return &spiffe.Material{
		ID:          id,
		Certificate: tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf},
		Bundle:      o.bundle,
		Generation:  1,
	}
}

// Source is SVID in a source that already holds it.
func (c *CA) Source(tb testing.TB, account spiffe.Account, opts ...Option) *spiffe.Source {
	tb.Helper()
	return spiffe.NewSource(c.SVID(tb, account, opts...))
}

func begin() time.Time { return time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) }

func end() time.Time { return time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC) }

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("make key: %v", err)
	}
	return key
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		tb.Fatalf("make serial number: %v", err)
	}
	return n
}

func sign(tb testing.TB, tmpl, issuer *x509.Certificate, key, issuerKey *ecdsa.PrivateKey) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, key.Public(), issuerKey)
	if err != nil {
		tb.Fatalf("sign certificate: %v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatalf("parse own certificate: %v", err)
	}
	return cert
}
