package builtin

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/services/identity/ca"
)

// DefaultLifetime of a root.
const DefaultLifetime = 10 * 365 * 24 * time.Hour

// Config of an authority.
type Config struct {
	// Dir holds root.key and root.pem; it is made when missing.
	Dir string
	// TrustDomain that the root is for.
	TrustDomain spiffeid.TrustDomain
	// Lifetime of a new root; 0: DefaultLifetime. At least twice LeafTTL.
	Lifetime time.Duration
	// LeafTTL is the longest lifetime of a leaf. A root that has less than twice this left is replaced by Open.
	LeafTTL time.Duration
}

// Authority is the open authority.
type Authority struct {
	td   spiffeid.TrustDomain
	key  *ecdsa.PrivateKey
	root *x509.Certificate
}

var _ ca.Authority = (*Authority)(nil)

// Open reads the root of a directory, or makes one when there is none or when it is close to its end.
func Open(cfg Config) (*Authority, error) {
	if cfg.Lifetime == 0 {
		cfg.Lifetime = DefaultLifetime
	}
	switch {
	case cfg.Dir == "" || cfg.TrustDomain.IsZero() || cfg.LeafTTL <= 0:
		return nil, errors.New("open built-in CA: directory, trust domain and lifetime of leaves are needed")
	case cfg.Lifetime < 2*cfg.LeafTTL:
		return nil, fmt.Errorf("open built-in CA: a root of %s is too short for SVIDs of %s; it must live at least twice as long", cfg.Lifetime, cfg.LeafTTL)
	}
	a, err := open(cfg, files{cfg.Dir})
	if err != nil {
		return nil, fmt.Errorf("open built-in CA in %q: %w", cfg.Dir, err)
	}
	return a, nil
}

func open(cfg Config, f files) (*Authority, error) {
	key, err := f.loadKey()
	if err != nil {
		return nil, err
	}
	root, err := f.loadRoot()
	if err != nil {
		return nil, err
	}
	renew, err := judge(cfg, key, root)
	switch {
	case err != nil:
		return nil, err
	case !renew:
		return &Authority{td: cfg.TrustDomain, key: key, root: root}, nil
	}
	// A key that belongs to no certificate yet was left by a crash between the two writes below: it is as good as new.
	if key == nil || root != nil && key.PublicKey.Equal(root.PublicKey) {
		if key, err = f.makeKey(); err != nil {
			return nil, err
		}
	}
	if root, err = selfSign(cfg, key); err != nil {
		return nil, err
	}
	if err := f.storeRoot(root); err != nil {
		return nil, err
	}
	return &Authority{td: cfg.TrustDomain, key: key, root: root}, nil
}

// judge says whether a new root is needed, or why what is there cannot be used.
func judge(cfg Config, key *ecdsa.PrivateKey, root *x509.Certificate) (renew bool, err error) {
	switch {
	case root == nil:
		return true, nil
	case key == nil:
		return false, fmt.Errorf("%s is missing beside %s: put it back, or remove both to begin with a new root", keyFile, rootFile)
	case len(root.URIs) != 1 || root.URIs[0].String() != cfg.TrustDomain.IDString():
		return false, fmt.Errorf("%s is not a root of trust domain %q", rootFile, cfg.TrustDomain)
	case time.Until(root.NotAfter) < 2*cfg.LeafTTL:
		return true, nil
	case !key.PublicKey.Equal(root.PublicKey):
		return false, fmt.Errorf("%s is not the key of %s: put the right one back, or remove both to begin with a new root", keyFile, rootFile)
	}
	return false, nil
}

// Roots is the one root.
func (a *Authority) Roots() []*x509.Certificate { return []*x509.Certificate{a.root} }

// NotAfter is the root's end.
func (a *Authority) NotAfter() time.Time { return a.root.NotAfter }

// Sign makes a leaf directly below the root.
func (a *Authority) Sign(_ context.Context, r ca.Request) ([]*x509.Certificate, error) {
	if err := r.Check(a.td); err != nil {
		return nil, err
	}
	now := time.Now()
	if !now.Before(a.root.NotAfter) {
		return nil, fmt.Errorf("sign SVID of %q: %w on %s", r.ID, ca.ErrExpired, a.root.NotAfter.UTC().Format(time.RFC3339))
	}
	end := now.Add(r.TTL)
	if end.After(a.root.NotAfter) {
		end = a.root.NotAfter
	}
	leaf, err := sign(&x509.Certificate{
		NotBefore:             now.Add(-ca.Backdate),
		NotAfter:              end,
		URIs:                  []*url.URL{r.ID.URL()},
		DNSNames:              r.DNSNames,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.root, r.PublicKey, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign SVID of %q: %w", r.ID, err)
	}
	return []*x509.Certificate{leaf}, nil
}

func selfSign(cfg Config, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	now := time.Now()
	tmpl := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"Weft"}, CommonName: "root of " + cfg.TrustDomain.Name()},
		NotBefore:             now.Add(-ca.Backdate),
		NotAfter:              now.Add(cfg.Lifetime),
		URIs:                  []*url.URL{cfg.TrustDomain.ID().URL()},
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	root, err := sign(tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make root: %w", err)
	}
	return root, nil
}

func sign(tmpl, issuer *x509.Certificate, pub any, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial := make([]byte, 16)
	if _, err := rand.Read(serial); err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	tmpl.SerialNumber = new(big.Int).SetBytes(serial)
	if tmpl.SerialNumber.Sign() == 0 {
		return nil, errors.New("make serial number: the random source returned only zeros")
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, pub, key)
	if err != nil {
		return nil, fmt.Errorf("create certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read back own certificate: %w", err)
	}
	return cert, nil
}
