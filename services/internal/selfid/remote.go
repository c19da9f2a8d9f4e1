package selfid

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// identityService is the account of the identity service.
const identityService = "identity"

// issueTimeout bounds one attempt at one replica.
const issueTimeout = 10 * time.Second

// RemoteConfig says where the identity service is and how to prove oneself to it.
type RemoteConfig struct {
	// TrustDomain of the mesh.
	TrustDomain spiffeid.TrustDomain
	// Addresses of the identity service; empty: those in the join token.
	Addresses []string
	// Fallback addresses when neither are given.
	Fallback []string
	// Trust is the service's own source: once it holds an SVID, that is the proof.
	Trust *spiffe.Source
	// Token reads the join token; it is called for each attempt that needs one, so that an operator can put a new one in
	// place of one that is used or expired.
	Token func() (string, error)
}

// Remote is the identity service in another process.
type Remote struct {
	cfg RemoteConfig

	mu   sync.Mutex
	conn *grpc.ClientConn // made at first use with an SVID
}

var _ Issuer = (*Remote)(nil)

// NewRemote makes an issuer that connects when it is asked.
func NewRemote(cfg RemoteConfig) *Remote { return &Remote{cfg: cfg} }

// Close closes the connection.
func (r *Remote) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == nil {
		return nil
	}
	return r.conn.Close()
}

// Issue proves itself by the SVID that it has, and by the join token when it has none or that has run out.
func (r *Remote) Issue(ctx context.Context, _ string, csr []byte) (Issued, error) {
	if m := r.cfg.Trust.Load(); m != nil && time.Now().Before(m.NotAfter()) {
		conn, err := r.connect()
		if err != nil {
			return Issued{}, err
		}
		return r.issue(ctx, conn, &identitypb.IssueX509SVIDRequest{Csr: csr})
	}
	text, err := r.cfg.Token()
	if err != nil {
		return Issued{}, err
	}
	token, err := jointoken.Decode(text)
	if err != nil {
		return Issued{}, err
	}
	return r.redeem(ctx, token, &identitypb.IssueX509SVIDRequest{Csr: csr, JoinToken: text})
}

// redeem asks one address after the other: the first that answers decides, unless it only says that it cannot now.
func (r *Remote) redeem(ctx context.Context, token jointoken.Token, req *identitypb.IssueX509SVIDRequest) (Issued, error) {
	if token.TrustDomain != r.cfg.TrustDomain.Name() {
		return Issued{}, fmt.Errorf("join token is for trust domain %q, this process is of %q", token.TrustDomain, r.cfg.TrustDomain.Name())
	}
	check, err := jointoken.TLS(token, r.cfg.TrustDomain, identityService)
	if err != nil {
		return Issued{}, err
	}
	addresses := r.cfg.Addresses
	if len(addresses) == 0 {
		addresses = token.Addresses.Identity
	}
	var errs []error
	for _, addr := range addresses {
		issued, err := r.redeemAt(ctx, addr, check, req)
		if err == nil {
			return issued, nil
		}
		errs = append(errs, fmt.Errorf("identity at %s: %w", addr, err))
	}
	return Issued{}, fmt.Errorf("redeem join token %q: %w", token.ID, errors.Join(errs...))
}

func (r *Remote) redeemAt(ctx context.Context, addr string, check *tls.Config, req *identitypb.IssueX509SVIDRequest) (Issued, error) {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(credentials.NewTLS(check)), grpc.WithNoProxy())
	if err != nil {
		return Issued{}, fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }() // what was wanted has come or not by then
	return r.issue(ctx, conn, req)
}

func (r *Remote) issue(ctx context.Context, conn grpc.ClientConnInterface, req *identitypb.IssueX509SVIDRequest) (Issued, error) {
	ctx, cancel := context.WithTimeout(ctx, issueTimeout)
	defer cancel() // ends the stream: each renewal opens its own, so that it goes to whichever replica is there
	stream, err := identitypb.NewIdentityServiceClient(conn).IssueX509SVID(ctx)
	if err != nil {
		return Issued{}, rpc.FaultOf(err)
	}
	_ = stream.Send(req) // Recv has the reason when this fails
	resp, err := stream.Recv()
	if err != nil {
		return Issued{}, rpc.FaultOf(err)
	}
	chain, err := spiffe.Certificates(resp.GetCertificates())
	if err != nil {
		return Issued{}, err
	}
	bundle, err := toBundle(resp.GetBundle())
	if err != nil {
		return Issued{}, err
	}
	return Issued{Certificates: chain, Bundle: bundle}, nil
}

// Bundles watches the bundle with the SVID that the service has.
func (r *Remote) Bundles(ctx context.Context, f func(*x509bundle.Bundle)) error {
	conn, err := r.connect()
	if err != nil {
		return err
	}
	stream, err := identitypb.NewIdentityServiceClient(conn).WatchBundles(ctx, &identitypb.WatchBundlesRequest{})
	if err != nil {
		return rpc.FaultOf(err)
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return rpc.FaultOf(err)
		}
		bundle, err := toBundle(resp.GetBundle())
		if err != nil {
			return err
		}
		f(bundle)
	}
}

// connect makes the connection that the own SVID proves itself on.
func (r *Remote) connect() (*grpc.ClientConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn != nil {
		return r.conn, nil
	}
	addresses := r.cfg.Addresses
	if text, err := r.cfg.Token(); len(addresses) == 0 && err == nil {
		if token, err := jointoken.Decode(text); err == nil {
			addresses = token.Addresses.Identity
		}
	}
	if len(addresses) == 0 {
		addresses = r.cfg.Fallback
	}
	conn, err := rpc.Dial(rpc.DialConfig{Service: identityService, Trust: r.cfg.Trust, TrustDomain: r.cfg.TrustDomain, Addresses: addresses})
	if err != nil {
		return nil, err
	}
	r.conn = conn
	return conn, nil
}

func toBundle(b *identitypb.Bundle) (*x509bundle.Bundle, error) {
	td, err := spiffeid.TrustDomainFromString(b.GetTrustDomain())
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	authorities, err := spiffe.Certificates(b.GetX509Authorities())
	if err != nil {
		return nil, fmt.Errorf("bundle of %q: %w", td, err)
	}
	return x509bundle.FromX509Authorities(td, authorities), nil
}
