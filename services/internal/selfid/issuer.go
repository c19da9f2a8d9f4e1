package selfid

import (
	"context"
	"crypto/x509"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
)

// Issuer signs SVIDs of the control plane's own services. Identity implements it for its own process; for every other
// process it is the identity service behind its RPCs.
type Issuer interface {
	// Issue makes an SVID for spiffe://<td>/ns/weft-system/sa/<service> and the public key of the CSR (DER, PKCS#10), whose
	// signature it checks and from which it takes nothing else. It blocks until it may issue or ctx ends.
	Issue(ctx context.Context, service string, csr []byte) (Issued, error)
	// Bundles calls f with the trust bundle, first as it is, then after every change, until ctx ends.
	Bundles(ctx context.Context, f func(*x509bundle.Bundle)) error
}

// Issued is one SVID with the bundle that contains its issuer.
type Issued struct {
	// Certificates are the leaf and intermediates, without the root.
	Certificates []*x509.Certificate
	// Bundle of the trust domain.
	Bundle *x509bundle.Bundle
}
