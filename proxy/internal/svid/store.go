package svid

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/statedir"
)

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
)

// load reads the stored SVID, which must be whole, valid now, of the trust domain and namespace given, and fit the bundle.
func load(dir *statedir.Dir, td spiffeid.TrustDomain, namespace string, now time.Time) (*spiffe.Material, error) {
	chain, err := readCertificates(dir, statedir.Certificate)
	if err != nil {
		return nil, err
	}
	authorities, err := readCertificates(dir, statedir.Bundle)
	if err != nil {
		return nil, err
	}
	key, err := readKey(dir, chain[0])
	if err != nil {
		return nil, err
	}
	material, err := check(td, namespace, chain, x509bundle.FromX509Authorities(td, authorities), key, now)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", statedir.Certificate, statedir.Bundle, err)
	}
	return material, nil
}

// check makes material of an SVID if it is what this sidecar may use.
func check(td spiffeid.TrustDomain, namespace string, chain []*x509.Certificate, bundle *x509bundle.Bundle, key *ecdsa.PrivateKey, now time.Time) (*spiffe.Material, error) {
	leaf := chain[0]
	if public, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || !public.Equal(key.Public()) {
		return nil, fmt.Errorf("%w: the certificate is for another key", ErrCorrupt)
	}
	id, err := x509svid.IDFromCert(leaf)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	account, err := spiffe.ParseID(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if id.TrustDomain() != td || account.Namespace != namespace {
		return nil, fmt.Errorf("%w: it is %q, this sidecar runs in namespace %q of trust domain %q", ErrForeign, id, namespace, td.Name())
	}
	if now.After(leaf.NotAfter) {
		return nil, fmt.Errorf("%w: it was valid until %s", ErrExpired, leaf.NotAfter.Format(time.RFC3339))
	}
	if _, _, err := x509svid.Verify(chain, bundle, x509svid.WithTime(now)); err != nil {
		return nil, fmt.Errorf("%w: it does not fit the trust bundle: %w", ErrCorrupt, err)
	}
	certificate := tls.Certificate{PrivateKey: key, Leaf: leaf}
	for _, c := range chain {
		certificate.Certificate = append(certificate.Certificate, c.Raw)
	}
	return &spiffe.Material{ID: id, Certificate: certificate, Bundle: bundle, Generation: 1}, nil
}

// readKey finds the key that fits the leaf. A renewal writes the new key beside the old one before it replaces the
// certificate, so that a crash in between leaves a pair that fits.
func readKey(dir *statedir.Dir, leaf *x509.Certificate) (*ecdsa.PrivateKey, error) {
	for _, name := range []string{statedir.Key, statedir.NextKey} {
		raw, err := dir.Read(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		key, err := parseKey(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, name, err)
		}
		if public, ok := leaf.PublicKey.(*ecdsa.PublicKey); ok && public.Equal(key.Public()) {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%w: %s is missing or not the key of %s", ErrCorrupt, statedir.Key, statedir.Certificate)
}

// parseKey keeps the parser's errors, which say nothing of the content.
func parseKey(raw []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != keyBlock {
		return nil, errors.New("no private key in PEM form")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("not a PKCS#8 private key")
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("not an EC key")
	}
	return key, nil
}

func readCertificates(dir *statedir.Dir, name string) ([]*x509.Certificate, error) {
	raw, err := dir.Read(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing", ErrNothing, name)
	}
	if err != nil {
		return nil, err
	}
	var der [][]byte
	for block, rest := pem.Decode(raw); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == certificateBlock {
			der = append(der, block.Bytes)
		}
	}
	certs, err := spiffe.Certificates(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, name, err)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%w: %s holds no certificate", ErrCorrupt, name)
	}
	return certs, nil
}

// save writes material so that a crash at any point leaves a pair of key and certificate that fit.
func save(dir *statedir.Dir, m *spiffe.Material) error {
	raw, err := x509.MarshalPKCS8PrivateKey(m.Certificate.PrivateKey)
	if err != nil {
		return fmt.Errorf("encode private key: %w", err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: raw})
	if err := dir.Write(statedir.NextKey, key); err != nil {
		return err
	}
	if err := saveBundle(dir, m.Bundle); err != nil {
		return err
	}
	if err := dir.Write(statedir.Certificate, encode(m.Certificate.Certificate)); err != nil {
		return err
	}
	return dir.Rename(statedir.NextKey, statedir.Key)
}

func saveBundle(dir *statedir.Dir, bundle *x509bundle.Bundle) error {
	var der [][]byte
	for _, c := range bundle.X509Authorities() {
		der = append(der, c.Raw)
	}
	return dir.Write(statedir.Bundle, encode(der))
}

func encode(der [][]byte) []byte {
	var out []byte
	for _, raw := range der {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: raw})...)
	}
	return out
}
