package svid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/uplink"
)

// answerTimeout bounds one exchange with a replica.
const answerTimeout = 10 * time.Second

// issue asks replica after replica until one has issued an SVID, or refused the token.
func (m *Manager) issue(ctx context.Context, connect uplink.Connect, token string) error {
	link, err := uplink.New(uplink.Config{Service: identityService, Addresses: m.Addresses().Identity, Connect: connect}, m.log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var refused error
	return errors.Join(link.Run(ctx, func(ctx context.Context, conn *grpc.ClientConn, good func()) error {
		err := m.exchange(ctx, conn, token)
		switch {
		case err == nil:
			good()
			cancel()
		case token != "" && final(err):
			refused = fmt.Errorf("redeem join token: %w", err)
			cancel()
		}
		return err
	}), refused)
}

// final says that asking again with the same token is of no use.
func final(err error) bool {
	switch status.Code(err) {
	case codes.PermissionDenied, codes.InvalidArgument, codes.Unauthenticated:
		return true
	default:
		return errors.Is(err, ErrForeign) || errors.Is(err, ErrCorrupt)
	}
}

// exchange makes a new key and gets an SVID for it.
func (m *Manager) exchange(ctx context.Context, conn *grpc.ClientConn, token string) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return fmt.Errorf("make certificate request: %w", err)
	}
	st, err := identitypb.NewIdentityServiceClient(conn).IssueX509SVID(ctx)
	if err != nil {
		return fmt.Errorf("open identity stream: %w", err)
	}
	// An error of Send only says that the stream is over; Recv says why.
	_ = st.Send(&identitypb.IssueX509SVIDRequest{Csr: csr, JoinToken: token})
	answer, err := st.Recv()
	if err != nil {
		return fmt.Errorf("get SVID: %w", err)
	}
	return m.accept(answer, key)
}

// accept checks what was issued, makes it current and saves it.
func (m *Manager) accept(answer *identitypb.IssueX509SVIDResponse, key *ecdsa.PrivateKey) error {
	chain, err := spiffe.Certificates(answer.GetCertificates())
	if err != nil {
		return fmt.Errorf("%w: issued SVID: %w", ErrCorrupt, err)
	}
	authorities, err := spiffe.Certificates(answer.GetBundle().GetX509Authorities())
	if err != nil {
		return fmt.Errorf("%w: issued bundle: %w", ErrCorrupt, err)
	}
	if len(chain) == 0 || len(authorities) == 0 {
		return fmt.Errorf("%w: the identity service sent %d certificates and %d authorities", ErrCorrupt, len(chain), len(authorities))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	bundle := x509bundle.FromX509Authorities(m.td, authorities)
	next, err := check(m.td, m.cfg.Namespace, chain, bundle, key, time.Now())
	if err != nil {
		return fmt.Errorf("issued SVID: %w", err)
	}
	old := m.source.Load()
	if old != nil {
		m.keepNewer(answer.GetBundle(), old, next)
	}
	m.revision = newest(m.revision, answer.GetBundle().GetRevision())
	m.renewAt = halfLife(next)
	if at := answer.GetRenewAfter(); at.IsValid() {
		m.renewAt = at.AsTime()
	}
	m.renewAt = m.renewAt.Add(jitter(time.Until(m.renewAt)))
	m.source.Set(next)
	m.stamp.Saved, m.stamp.SPIFFEID = time.Now().UTC(), next.ID.String()
	if err := errors.Join(save(m.dir, next), writeStamp(m.dir, m.stamp)); err != nil {
		m.log.Error("cannot save identity", zap.Error(err)) // it works on without the files
	}
	m.log.Info("identity issued", zap.Stringer("spiffe_id", next.ID), zap.Time("not_after", next.NotAfter()), zap.Time("renew_after", m.renewAt))
	return nil
}

// jitter spreads the renewals of sidecars that were started together over a twentieth of the time until then.
func jitter(wait time.Duration) time.Duration {
	if wait < 20 {
		return 0
	}
	return mathrand.N(wait / 20)
}

// keepNewer keeps the bundle held when the config stream has brought a newer one, and counts its generation.
func (m *Manager) keepNewer(pb *identitypb.Bundle, old, next *spiffe.Material) {
	next.Generation = old.Generation
	if older(pb.GetRevision(), m.revision) {
		next.Bundle = old.Bundle
		return
	}
	if !old.Bundle.Equal(next.Bundle) {
		next.Generation++
	}
}
