package testca

import (
	"crypto/rand"
	"crypto/x509"
	"net/url"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// Issue signs the public key of a certificate request (DER) for an account, as an identity service does, and returns the
// chain without the root. Validity begins now and ends after ttl.
func (c *CA) Issue(tb testing.TB, account spiffe.Account, csr []byte, ttl time.Duration) [][]byte {
	tb.Helper()
	request, err := x509.ParseCertificateRequest(csr)
	if err == nil {
		err = request.CheckSignature()
	}
	if err != nil {
		tb.Errorf("certificate request: %v", err)
		return nil
	}
	now := time.Now()
	leaf := &x509.Certificate{
		SerialNumber:          serial(tb),
		NotBefore:             now.Add(-time.Minute),
		NotAfter:              now.Add(ttl),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:                  []*url.URL{c.ID(tb, account).URL()},
	}
	raw, err := x509.CreateCertificate(rand.Reader, leaf, c.root, request.PublicKey, c.key)
	if err != nil {
		tb.Errorf("sign certificate: %v", err)
		return nil
	}
	return [][]byte{raw}
}
