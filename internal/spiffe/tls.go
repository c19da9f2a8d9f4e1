package spiffe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// Authorize decides about a peer whose chain has been verified.
type Authorize func(id spiffeid.ID) error

// AnyMember authorizes every identity of the source's own trust domain.
func AnyMember(s *Source) Authorize {
	return func(id spiffeid.ID) error {
		m := s.Load()
		if m == nil {
			return ErrNoSVID
		}
		if !id.MemberOf(m.ID.TrustDomain()) {
			return fmt.Errorf("peer %q is of another trust domain than %q", id, m.ID.TrustDomain())
		}
		return nil
	}
}

// OneOf authorizes exactly these identities.
func OneOf(ids ...spiffeid.ID) Authorize {
	return func(id spiffeid.ID) error {
		for _, want := range ids {
			if id == want {
				return nil
			}
		}
		return fmt.Errorf("peer is %q, expected one of %q", id, ids)
	}
}

// PeerID verifies a peer's chain against the source's bundle by the rules of the X.509-SVID specification (section 5) and
// returns its SPIFFE ID.
func PeerID(s *Source, certs []*x509.Certificate) (spiffeid.ID, error) {
	m := s.Load()
	if m == nil {
		return spiffeid.ID{}, ErrNoSVID
	}
	if len(certs) == 0 {
		return spiffeid.ID{}, errors.New("peer sent no certificate")
	}
	id, _, err := x509svid.Verify(certs, m.Bundle)
	if err != nil {
		return spiffeid.ID{}, fmt.Errorf("verify peer: %w", err)
	}
	return id, nil
}

// verify is the VerifyConnection hook: unlike VerifyPeerCertificate it also runs on resumed sessions.
func verify(s *Source, authorize Authorize) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		id, err := PeerID(s, state.PeerCertificates)
		if err != nil {
			return err
		}
		return authorize(id)
	}
}

// ServerTLS is TLS 1.3 that presents the source's SVID and demands a client SVID that authorize accepts.
func ServerTLS(s *Source, authorize Authorize) *tls.Config {
	cfg := base(s)
	cfg.ClientAuth = tls.RequireAnyClientCert
	cfg.VerifyConnection = verify(s, authorize)
	return cfg
}

// ServerTLSOptional is ServerTLS for a server that some callers reach before they have an SVID: a client certificate is
// verified when it is given.
func ServerTLSOptional(s *Source, authorize Authorize) *tls.Config {
	cfg := base(s)
	cfg.ClientAuth = tls.RequestClientCert
	check := verify(s, authorize)
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return nil
		}
		return check(state)
	}
	return cfg
}

// ClientTLS is TLS 1.3 that presents the source's SVID and accepts a server whose SVID authorize accepts.
func ClientTLS(s *Source, authorize Authorize) *tls.Config {
	cfg := base(s)
	cfg.InsecureSkipVerify = true // names are not what identifies peers: VerifyConnection checks the SPIFFE ID instead
	cfg.VerifyConnection = verify(s, authorize)
	return cfg
}

func base(s *Source) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return certificate(s)
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return certificate(s)
		},
	}
}

func certificate(s *Source) (*tls.Certificate, error) {
	m := s.Load()
	if m == nil {
		return nil, ErrNoSVID
	}
	return &m.Certificate, nil
}
