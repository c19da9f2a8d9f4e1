package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Backdate is how far before now an SVID's validity begins, so that a peer whose clock is a little behind accepts it.
const Backdate = 30 * time.Second

// maxRSABits bounds the work of verifying a signature by a key that a stranger chose.
const maxRSABits = 8192

// ErrExpired says that the authority's own time is over.
var ErrExpired = errors.New("authority has expired")

// Authority signs X.509-SVIDs of one trust domain. It is safe for concurrent use.
type Authority interface {
	// Sign makes an SVID: leaf first, then intermediates, without the root. It is valid from Backdate before now until TTL
	// from now, but never past the authority's own end. It refuses IDs of other trust domains, IDs without a path, and keys
	// that CheckKey refuses.
	Sign(ctx context.Context, r Request) ([]*x509.Certificate, error)
	// Roots are what chains made by Sign verify against; never empty. They must be in everybody's bundle before Sign is
	// used for anybody else than this process.
	Roots() []*x509.Certificate
	// NotAfter is the last moment of any SVID that Sign can make.
	NotAfter() time.Time
}

// Request is one SVID to sign.
type Request struct {
	// ID that the SVID names.
	ID spiffeid.ID
	// DNSNames that it carries beside the ID, for clients that know host names and no SPIFFE; usually none.
	DNSNames []string
	// PublicKey that it is for.
	PublicKey crypto.PublicKey
	// TTL from now; above zero.
	TTL time.Duration
}

// Check refuses what no authority of a trust domain may sign. For implementations.
func (r Request) Check(td spiffeid.TrustDomain) error {
	switch {
	case !r.ID.MemberOf(td):
		return fmt.Errorf("sign SVID: %q is not of trust domain %q", r.ID, td)
	case r.ID.Path() == "":
		return fmt.Errorf("sign SVID: %q names a trust domain, not a workload", r.ID)
	case r.TTL <= 0:
		return fmt.Errorf("sign SVID of %q: lifetime %s is not above zero", r.ID, r.TTL)
	}
	if err := CheckKey(r.PublicKey); err != nil {
		return fmt.Errorf("sign SVID of %q: %w", r.ID, err)
	}
	return nil
}

// CheckKey says whether a public key is of a kind that SVIDs are made for: EC P-256 and P-384, RSA of at least 2048 bits.
func CheckKey(key crypto.PublicKey) error {
	const allowed = "allowed are EC P-256, EC P-384 and RSA of 2048 to 8192 bits"
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() {
			return fmt.Errorf("key is EC %s; %s", k.Curve.Params().Name, allowed)
		}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < 2048 || bits > maxRSABits {
			return fmt.Errorf("key is RSA of %d bits; %s", bits, allowed)
		}
	default:
		return fmt.Errorf("key is a %T; %s", key, allowed)
	}
	return nil
}
