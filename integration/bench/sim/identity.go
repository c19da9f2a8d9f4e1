package sim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
)

// issue redeems a join token and gets count SVIDs of its account, each for a key of its own.
func issue(ctx context.Context, text string, count int) ([]*spiffe.Material, error) {
	token, err := jointoken.Decode(text)
	if err != nil {
		return nil, err
	}
	td, err := spiffeid.TrustDomainFromString(token.TrustDomain)
	if err != nil {
		return nil, fmt.Errorf("trust domain of the token: %w", err)
	}
	conf, err := jointoken.TLS(token, td, "identity")
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(token.Addresses.Identity[0], grpc.WithTransportCredentials(credentials.NewTLS(conf)), grpc.WithNoProxy())
	if err != nil {
		return nil, fmt.Errorf("dial identity: %w", err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := identitypb.NewIdentityServiceClient(conn).IssueX509SVID(ctx, grpc.WaitForReady(true))
	if err != nil {
		return nil, fmt.Errorf("open identity stream: %w", err)
	}
	var out []*spiffe.Material
	for range count {
		m, err := issueOne(stream, text)
		if err != nil {
			return nil, err
		}
		text = "" // proven by now
		out = append(out, m)
	}
	return out, nil
}

func issueOne(stream identitypb.IdentityService_IssueX509SVIDClient, token string) (*spiffe.Material, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	_ = stream.Send(&identitypb.IssueX509SVIDRequest{Csr: csr, JoinToken: token}) // Recv says why when it fails
	answer, err := stream.Recv()
	if err != nil {
		return nil, fmt.Errorf("get SVID: %w", err)
	}
	chain, err := spiffe.Certificates(answer.GetCertificates())
	if err != nil {
		return nil, fmt.Errorf("issued SVID: %w", err)
	}
	roots, err := spiffe.Certificates(answer.GetBundle().GetX509Authorities())
	if err != nil {
		return nil, fmt.Errorf("issued bundle: %w", err)
	}
	id, err := spiffeid.FromString(answer.GetSpiffeId())
	if err != nil {
		return nil, fmt.Errorf("issued SVID: %w", err)
	}
	return &spiffe.Material{
		ID:          id,
		Certificate: tls.Certificate{Certificate: answer.GetCertificates(), PrivateKey: key, Leaf: chain[0]},
		Bundle:      x509bundle.FromX509Authorities(id.TrustDomain(), roots),
	}, nil
}
