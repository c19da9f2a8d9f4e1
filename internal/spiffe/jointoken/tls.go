package jointoken

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// TLS is for the first connection of whoever holds a token and has no SVID yet: it accepts a server whose chain ends in an
// authority that the token names, and whose SVID is that of the named service of the control plane.
func TLS(token Token, td spiffeid.TrustDomain, service string) (*tls.Config, error) {
	want, err := spiffe.ID(td, spiffe.Account{Namespace: spiffe.SystemNamespace, Name: service})
	if err != nil {
		return nil, err
	}
	verify := func(state tls.ConnectionState) error {
		anchor, err := token.Anchor(state.PeerCertificates)
		if err != nil {
			return err
		}
		bundle := x509bundle.FromX509Authorities(td, []*x509.Certificate{anchor})
		id, _, err := x509svid.Verify(state.PeerCertificates, bundle)
		if err != nil {
			return fmt.Errorf("verify %s: %w", service, err)
		}
		return spiffe.OneOf(want)(id)
	}
	// Names are not what identifies the server: VerifyConnection does, by the hashes in the token.
	return &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, VerifyConnection: verify}, nil
}
