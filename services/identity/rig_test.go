package identity_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/test/bufconn"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/identity"
	"github.com/weft-mesh/weft/services/identity/ca/builtin"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

const ttl = 48 * time.Hour

// td is the trust domain of every test.
func td() spiffeid.TrustDomain { return spiffeid.RequireTrustDomainFromString("weft.local") }

// parts is one replica without a server.
type parts struct {
	service *identity.Service
	trust   *identity.Trust
	issuer  *identity.ProcessIssuer
	dir     string
}

type option func(*identity.Config, *identity.Deps)

func withConvergence(c identity.Convergence) option {
	return func(_ *identity.Config, d *identity.Deps) { d.Convergence = c }
}

func withGrace(g time.Duration) option {
	return func(c *identity.Config, _ *identity.Deps) { c.Grace = g }
}

func withLog(log *zap.Logger) option {
	return func(_ *identity.Config, d *identity.Deps) { d.Log = log }
}

func newParts(t *testing.T, store kv.Store, dir, replica string, opts ...option) *parts {
	t.Helper()
	authority, err := builtin.Open(builtin.Config{Dir: filepath.Join(dir, "ca"), TrustDomain: td(), LeafTTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	cfg := identity.Config{AdminTokenFile: filepath.Join(dir, "admin.token")}
	deps := identity.Deps{
		Log: zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel)), Store: store, Metrics: prometheus.NewRegistry(),
		Addresses: func() jointoken.Addresses { return jointoken.Addresses{Identity: []string{"127.0.0.1:9712"}} },
	}
	for _, opt := range opts {
		opt(&cfg, &deps)
	}
	deps.Trust = identity.NewTrust(identity.TrustConfig{
		TrustDomain: td(), Authority: authority, Store: store, Replica: replica, TTL: ttl, Log: deps.Log,
	})
	if err := deps.Trust.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	service, err := identity.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	return &parts{service: service, trust: deps.Trust, issuer: identity.NewProcessIssuer(deps.Trust), dir: dir}
}

// run runs a part in the background until the test or stop ends it.
func run(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// replica is a running replica behind a real server with mTLS.
type replica struct {
	*parts
	listener *bufconn.Listener
	source   *spiffe.Source
}

func start(t *testing.T, store kv.Store, name string, opts ...option) *replica {
	t.Helper()
	r := &replica{parts: newParts(t, store, t.TempDir(), name, opts...), listener: bufconn.Listen(1 << 20)}
	r.source = r.selfSource(t)
	run(t, r.service.Run)
	run(t, func(ctx context.Context) error {
		return r.issuer.Bundles(ctx, func(b *x509bundle.Bundle) { r.source.SetBundle(b) })
	})
	server, err := rpc.NewServer(rpc.ServerConfig{Log: zap.NewNop(), Trust: r.source, Anonymous: true, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	r.service.Register(server.Registrar())
	if err := server.Check(); err != nil {
		t.Fatal(err)
	}
	run(t, func(ctx context.Context) error {
		return server.Serve(ctx, func() time.Time { return time.Now().Add(time.Second) }, r.listener)
	})
	r.waitReady(t)
	return r
}

func (r *replica) selfSource(t *testing.T) *spiffe.Source {
	t.Helper()
	return spiffe.NewSource(r.system(t, "identity"))
}

// system is the SVID of a service in the replica's own process.
func (r *replica) system(t *testing.T, service string) *spiffe.Material {
	t.Helper()
	key, csr := newCSR(t, elliptic.P256())
	issued, err := r.issuer.Issue(t.Context(), service, csr)
	if err != nil {
		t.Fatal(err)
	}
	return material(t, key, issued.Certificates, issued.Bundle)
}

func (r *replica) waitReady(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for r.service.Ready() != nil {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal(r.service.Ready())
		}
	}
}

// client calls the replica with some TLS configuration.
func (r *replica) client(t *testing.T, cfg *tls.Config) identitypb.IdentityServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///identity", grpc.WithTransportCredentials(credentials.NewTLS(cfg)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return r.listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return identitypb.NewIdentityServiceClient(conn)
}

// as calls with an SVID.
func (r *replica) as(t *testing.T, m *spiffe.Material) identitypb.IdentityServiceClient {
	t.Helper()
	return r.client(t, spiffe.ClientTLS(spiffe.NewSource(m), spiffe.OneOf(r.source.Load().ID)))
}

// anonymous calls without a certificate, as who joins: the server must present an authority that the token names.
func (r *replica) anonymous(t *testing.T, trusts func([]*x509.Certificate) error) identitypb.IdentityServiceClient {
	t.Helper()
	return r.client(t, &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error { return trusts(state.PeerCertificates) },
	})
}

func anybody([]*x509.Certificate) error { return nil }

// gateway calls as the gateway.
func (r *replica) gateway(t *testing.T) identitypb.IdentityServiceClient {
	t.Helper()
	return r.as(t, r.system(t, "gateway"))
}

// token mints a join token for default/<account>.
func (r *replica) token(t *testing.T, account string) string {
	t.Helper()
	resp, err := r.gateway(t).CreateJoinToken(t.Context(), &identitypb.CreateJoinTokenRequest{Account: account})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetToken()
}

// issue sends one request on a stream of its own.
func issue(t *testing.T, c identitypb.IdentityServiceClient, req *identitypb.IssueX509SVIDRequest) (*identitypb.IssueX509SVIDResponse, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := c.IssueX509SVID(ctx)
	if err != nil {
		return nil, err
	}
	if err := stream.Send(req); err != nil {
		return nil, err
	}
	return stream.Recv()
}

// join redeems a token and returns the material.
func (r *replica) join(t *testing.T, token string) *spiffe.Material {
	t.Helper()
	key, csr := newCSR(t, elliptic.P256())
	resp, err := issue(t, r.anonymous(t, anybody), &identitypb.IssueX509SVIDRequest{Csr: csr, JoinToken: token})
	if err != nil {
		t.Fatal(err)
	}
	return materialOf(t, key, resp)
}

func materialOf(t *testing.T, key crypto.Signer, resp *identitypb.IssueX509SVIDResponse) *spiffe.Material {
	t.Helper()
	chain, err := spiffe.Certificates(resp.GetCertificates())
	if err != nil {
		t.Fatal(err)
	}
	return material(t, key, chain, bundleOf(t, resp.GetBundle()))
}

func bundleOf(t *testing.T, b *identitypb.Bundle) *x509bundle.Bundle {
	t.Helper()
	roots, err := spiffe.Certificates(b.GetX509Authorities())
	if err != nil {
		t.Fatal(err)
	}
	return x509bundle.FromX509Authorities(spiffeid.RequireTrustDomainFromString(b.GetTrustDomain()), roots)
}

func material(t *testing.T, key crypto.Signer, chain []*x509.Certificate, bundle *x509bundle.Bundle) *spiffe.Material {
	t.Helper()
	m := &spiffe.Material{Certificate: tls.Certificate{PrivateKey: key, Leaf: chain[0]}, Bundle: bundle}
	for _, cert := range chain {
		m.Certificate.Certificate = append(m.Certificate.Certificate, cert.Raw)
	}
	var err error
	if m.ID, err = spiffeid.FromURI(chain[0].URIs[0]); err != nil {
		t.Fatal(err)
	}
	return m
}

// newCSR asks with names in it that nobody may get for asking.
func newCSR(t *testing.T, curve elliptic.Curve, names ...string) (crypto.Signer, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "whoever"}, DNSNames: []string{"localhost"}}
	for _, name := range names {
		tmpl.URIs = append(tmpl.URIs, spiffeid.RequireFromString(name).URL())
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}
