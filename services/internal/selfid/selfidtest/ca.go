// Package selfidtest is a selfid.Issuer for tests: an authority in memory that signs at once, can be told to fail, and can
// add and drop roots.
package selfidtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/selfid"
)

// CA is an authority, safe for concurrent use.
type CA struct {
	// Lifetime of the SVIDs; set before use.
	Lifetime time.Duration

	td spiffeid.TrustDomain

	mu      sync.Mutex
	key     *ecdsa.PrivateKey
	root    *x509.Certificate
	bundle  *x509bundle.Bundle
	changed chan struct{} // closed and replaced when the bundle changes
	fail    error
	issued  int
}

var _ selfid.Issuer = (*CA)(nil)

// New makes an authority of weft.local whose SVIDs live for an hour.
func New(tb testing.TB) *CA {
	tb.Helper()
	td, err := spiffeid.TrustDomainFromString("weft.local")
	if err != nil {
		tb.Fatal(err)
	}
	c := &CA{Lifetime: time.Hour, td: td, bundle: x509bundle.New(td), changed: make(chan struct{})}
	c.Rotate(tb)
	return c
}

// TrustDomain of the authority.
func (c *CA) TrustDomain() spiffeid.TrustDomain { return c.td }

// Rotate makes a new root, which signs from now on and joins the bundle.
func (c *CA) Rotate(tb testing.TB) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), URIs: []*url.URL{c.td.ID().URL()},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.key, c.root = key, root
	c.bundle.AddX509Authority(root)
	close(c.changed)
	c.changed = make(chan struct{})
}

// Fail makes every Issue fail with err until it is told nil.
func (c *CA) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = err
}

// Issued is how many SVIDs have been signed.
func (c *CA) Issued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.issued
}

// Bundle is a copy of the current bundle.
func (c *CA) Bundle() *x509bundle.Bundle {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bundle.Clone()
}

// Issue signs at once.
func (c *CA) Issue(_ context.Context, service string, csr []byte) (selfid.Issued, error) {
	return c.IssueTo(spiffe.Account{Namespace: spiffe.SystemNamespace, Name: service}, csr)
}

// IssueTo signs for any account.
func (c *CA) IssueTo(account spiffe.Account, csr []byte) (selfid.Issued, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return selfid.Issued{}, c.fail
	}
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return selfid.Issued{}, err
	}
	id, err := spiffe.ID(c.td, account)
	if err != nil {
		return selfid.Issued{}, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), URIs: []*url.URL{id.URL()},
		NotBefore: time.Now(), NotAfter: time.Now().Add(c.Lifetime), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, c.root, req.PublicKey, c.key)
	if err != nil {
		return selfid.Issued{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return selfid.Issued{}, err
	}
	c.issued++
	return selfid.Issued{Certificates: []*x509.Certificate{leaf}, Bundle: c.bundle.Clone()}, nil
}

// Bundles follows the bundle.
func (c *CA) Bundles(ctx context.Context, f func(*x509bundle.Bundle)) error {
	for {
		c.mu.Lock()
		bundle, changed := c.bundle.Clone(), c.changed
		c.mu.Unlock()
		f(bundle)
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}
