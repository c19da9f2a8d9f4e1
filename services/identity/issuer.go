package identity

import (
	"context"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/selfid"
)

// ProcessIssuer gives the services of identity's own process their SVIDs, without a network and before anything runs.
//
// It signs at once, even while the replica's root is not distributed and nobody else gets an SVID of it. That is safe: a peer
// that lacks the root refuses the handshake and goes to another replica, and the control plane has the root within moments,
// because it watches the bundle. And it is needed: to learn that the root is distributed, this process has to ask the
// distributor, over mTLS.
type ProcessIssuer struct {
	trust *Trust
}

var _ selfid.Issuer = (*ProcessIssuer)(nil)

// NewProcessIssuer makes the issuer; trust has been published.
func NewProcessIssuer(trust *Trust) *ProcessIssuer { return &ProcessIssuer{trust: trust} }

// Issue signs the SVID of a service of the control plane.
func (p *ProcessIssuer) Issue(ctx context.Context, service string, csr []byte) (selfid.Issued, error) {
	key, err := csrKey(csr)
	if err != nil {
		return selfid.Issued{}, err
	}
	_, chain, err := p.trust.sign(ctx, spiffe.Account{Namespace: spiffe.SystemNamespace, Name: service}, key)
	if err != nil {
		return selfid.Issued{}, err
	}
	set, _ := p.trust.current()
	if set == nil {
		return selfid.Issued{}, fmt.Errorf("issue SVID of service %q: the bundle has not been read yet", service)
	}
	return selfid.Issued{Certificates: chain, Bundle: set.bundle.Clone()}, nil
}

// Bundles follows the store itself, because it works whether or not the service runs.
func (p *ProcessIssuer) Bundles(ctx context.Context, f func(*x509bundle.Bundle)) error {
	return p.trust.anchors.follow(ctx, func(set *anchorSet) { f(set.bundle.Clone()) })
}
