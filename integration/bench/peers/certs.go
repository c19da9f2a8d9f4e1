package peers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Files are an authority and the certificates of both ends of a hop, all with P-256 keys, leaf signed by the authority as the
// mesh's are. Both end in a chain of one.
type Files struct {
	CA, Server, ServerKey, Client, ClientKey string
	// ServerBoth and ClientBoth hold certificate and key.
	ServerBoth, ClientBoth string
	// Name tells templates what it is for.
	Name string
}

// Named is the same files under a name.
func (f Files) Named(name string) Files {
	f.Name = name
	return f
}

// NewFiles makes them in a folder.
func NewFiles(dir string) (Files, error) {
	f := Files{CA: filepath.Join(dir, "ca.pem")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return f, err
	}
	ca := certificate(1, "bench authority")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return f, fmt.Errorf("make authority: %w", err)
	}
	if err := write(f.CA, block("CERTIFICATE", der)); err != nil {
		return f, err
	}
	if f.Server, f.ServerKey, f.ServerBoth, err = leaf(dir, "inner", 2, ca, key); err == nil {
		f.Client, f.ClientKey, f.ClientBoth, err = leaf(dir, "outer", 3, ca, key)
	}
	return f, err
}

func certificate(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
	}
}

func leaf(dir, name string, serial int64, ca *x509.Certificate, issuer *ecdsa.PrivateKey) (cert, key, both string, err error) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", "", err
	}
	t := certificate(serial, name)
	t.DNSNames = []string{name}
	t.URIs = []*url.URL{{Scheme: "spiffe", Host: "bench", Path: "/ns/default/sa/" + name}}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, ca, own.Public(), issuer)
	if err != nil {
		return "", "", "", fmt.Errorf("make certificate of %s: %w", name, err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return "", "", "", fmt.Errorf("encode key of %s: %w", name, err)
	}
	path := func(end string) string { return filepath.Join(dir, name+end) }
	cert, key, both = path(".pem"), path(".key"), path(".both.pem")
	for file, data := range map[string][]byte{
		cert: block("CERTIFICATE", der), key: block("PRIVATE KEY", raw), both: append(block("CERTIFICATE", der), block("PRIVATE KEY", raw)...),
	} {
		if err := write(file, data); err != nil {
			return "", "", "", err
		}
	}
	return cert, key, both, nil
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func write(file string, data []byte) error { return os.WriteFile(file, data, 0o600) }
