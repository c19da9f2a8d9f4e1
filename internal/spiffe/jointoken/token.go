package jointoken

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"fmt"
	"time"
)

// Token is a join token.
type Token struct {
	// TrustDomain that the holder joins, without scheme.
	TrustDomain string
	// Roots are the SHA-256 of the DER of the authorities at the time of minting. A server that presents none of them is
	// not the control plane.
	Roots []Fingerprint
	// Addresses of the control plane.
	Addresses Addresses
	// ID names the token in logs and errors; not secret.
	ID string
	// Secret works once.
	Secret string
	// Expires is the end of validity, in whole seconds. It advises the holder; the control plane keeps its own.
	Expires time.Time
}

// Addresses are "host:port" of the services that a sidecar talks to, several for several replicas.
type Addresses struct {
	Identity    []string `json:"identity"`
	Discovery   []string `json:"discovery"`
	Distributor []string `json:"distributor"`
	Telemetry   []string `json:"telemetry"`
}

// Fingerprint is the SHA-256 of a certificate's DER.
type Fingerprint [sha256.Size]byte

// FingerprintOf a certificate.
func FingerprintOf(cert *x509.Certificate) Fingerprint { return sha256.Sum256(cert.Raw) }

// String is lower-case hex.
func (f Fingerprint) String() string { return fmt.Sprintf("%x", f[:]) }

// Trusts says whether a certificate is one of the authorities that the token names.
func (t Token) Trusts(cert *x509.Certificate) bool {
	found := 0
	got := FingerprintOf(cert)
	for _, root := range t.Roots {
		found |= subtle.ConstantTimeCompare(root[:], got[:])
	}
	return found == 1
}

// Anchor returns the one certificate of a presented chain that the token vouches for, or an error that says what to do. The
// caller then verifies the rest of the chain against it.
func (t Token) Anchor(chain []*x509.Certificate) (*x509.Certificate, error) {
	for _, cert := range chain {
		if t.Trusts(cert) {
			return cert, nil
		}
	}
	return nil, fmt.Errorf("join token %q: the server presents no authority that the token names (%d certificates, %d hashes): "+
		"it is not the control plane that minted the token, or its authorities have changed since; ask for a new token",
		t.ID, len(chain), len(t.Roots))
}

// Expired says whether the token's time is over.
func (t Token) Expired(now time.Time) bool { return !now.Before(t.Expires) }

// String names the token without its secret, so that printing one does not leak it.
func (t Token) String() string {
	return fmt.Sprintf("join token %q of trust domain %q until %s", t.ID, t.TrustDomain, t.Expires.UTC().Format(time.RFC3339))
}

// GoString is String: %#v must not leak either.
func (t Token) GoString() string { return t.String() }
