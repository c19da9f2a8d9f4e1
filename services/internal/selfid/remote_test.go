package selfid_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/rpc"
	"github.com/weft-mesh/weft/services/internal/selfid"
	"github.com/weft-mesh/weft/services/internal/selfid/selfidtest"
)

// identityServer issues by token once, and then by certificate.
type identityServer struct {
	identitypb.UnimplementedIdentityServiceServer
	ca     *selfidtest.CA
	secret string

	mu     sync.Mutex
	used   bool
	proofs []string
}

func (s *identityServer) IssueX509SVID(stream grpc.BidiStreamingServer[identitypb.IssueX509SVIDRequest, identitypb.IssueX509SVIDResponse]) error {
	req, err := stream.Recv()
	if err != nil {
		return err
	}
	account, err := s.prove(stream.Context(), req)
	if err != nil {
		return err
	}
	issued, err := s.ca.IssueTo(account, req.GetCsr())
	if err != nil {
		return err
	}
	resp := &identitypb.IssueX509SVIDResponse{Bundle: toProto(issued.Bundle)}
	for _, c := range issued.Certificates {
		resp.Certificates = append(resp.Certificates, c.Raw)
	}
	return stream.Send(resp)
}

func (s *identityServer) prove(ctx context.Context, req *identitypb.IssueX509SVIDRequest) (spiffe.Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.GetJoinToken() == "" {
		caller := rpc.CallerFrom(ctx)
		s.proofs = append(s.proofs, "certificate of "+caller.Account.String())
		return caller.Account, nil
	}
	s.proofs = append(s.proofs, "token")
	token, err := jointoken.Decode(req.GetJoinToken())
	if err != nil || token.Secret != s.secret || s.used {
		return spiffe.Account{}, fault.New(fault.Denied, "token is used or unknown")
	}
	s.used = true
	return spiffe.Account{Namespace: spiffe.SystemNamespace, Name: "policy"}, nil
}

func (s *identityServer) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.proofs...)
}

func (s *identityServer) WatchBundles(_ *identitypb.WatchBundlesRequest, stream grpc.ServerStreamingServer[identitypb.WatchBundlesResponse]) error {
	return s.ca.Bundles(stream.Context(), func(b *x509bundle.Bundle) {
		_ = stream.Send(&identitypb.WatchBundlesResponse{Bundle: toProto(b)})
	})
}

func toProto(b *x509bundle.Bundle) *identitypb.Bundle {
	out := &identitypb.Bundle{TrustDomain: b.TrustDomain().Name()}
	for _, c := range b.X509Authorities() {
		out.X509Authorities = append(out.X509Authorities, c.Raw)
	}
	return out
}

// serveIdentity runs an identity service on loopback under an account and returns its address.
func serveIdentity(t *testing.T, ca *selfidtest.CA, account string) (*identityServer, string) {
	t.Helper()
	source, stop := keep(t, ca, account, "", ca)
	t.Cleanup(stop)
	if _, err := source.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	server, err := rpc.NewServer(rpc.ServerConfig{Log: zaptest.NewLogger(t), Trust: source, Anonymous: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &identityServer{ca: ca, secret: "swordfish"}
	identitypb.RegisterIdentityServiceServer(server.Registrar(), s)
	server.Registrar().AllowService(&identitypb.IdentityService_ServiceDesc, rpc.Anyone())
	server.SetServing(true)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, time.Now, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, l.Addr().String()
}

func token(t *testing.T, ca *selfidtest.CA, address string, change func(*jointoken.Token)) func() (string, error) {
	t.Helper()
	tok := jointoken.Token{
		TrustDomain: "weft.local", ID: "t1", Secret: "swordfish", Expires: time.Now().Add(time.Hour),
		Addresses: jointoken.Addresses{Identity: []string{address}},
	}
	for _, c := range ca.Bundle().X509Authorities() {
		tok.Roots = append(tok.Roots, jointoken.FingerprintOf(c))
	}
	if change != nil {
		change(&tok)
	}
	text, err := jointoken.Encode(tok)
	if err != nil {
		t.Fatal(err)
	}
	return func() (string, error) { return text, nil }
}

func remote(t *testing.T, ca *selfidtest.CA, source *spiffe.Source, token func() (string, error)) *selfid.Remote {
	t.Helper()
	r := selfid.NewRemote(selfid.RemoteConfig{TrustDomain: ca.TrustDomain(), Trust: source, Token: token})
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func TestJoinsOnceAndRenewsByItsSVID(t *testing.T) {
	ca := selfidtest.New(t)
	server, address := serveIdentity(t, ca, "identity")
	dir := t.TempDir() + "/policy"
	for _, want := range []string{"token", "certificate of weft-system/policy"} {
		source := spiffe.NewSource(nil)
		k, err := selfid.New(selfid.Config{Service: "policy", TrustDomain: ca.TrustDomain(), Dir: dir},
			remote(t, ca, source, token(t, ca, address, nil)), source, zaptest.NewLogger(t))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		if _, err := source.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		if want != "token" { // restarted from its files: the SVID is the proof
			r := selfid.NewRemote(selfid.RemoteConfig{TrustDomain: ca.TrustDomain(), Trust: source, Token: noToken, Fallback: []string{address}})
			if _, err := r.Issue(ctx, "policy", request(t)); err != nil {
				t.Errorf("renewal = %v", err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		changed := source.Changed()
		ca.Rotate(t)
		<-changed
		if got := source.Load().Bundle; !got.Equal(ca.Bundle()) {
			t.Errorf("bundle has %d authorities after the second root, want those of the CA", len(got.X509Authorities()))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := server.seen(); got[len(got)-1] != want {
			t.Errorf("proofs = %q, want the last to be %q", got, want)
		}
	}
}

func noToken() (string, error) {
	return "", errors.New("a token is asked for although there is an SVID")
}

func TestJoinRefuses(t *testing.T) {
	ca := selfidtest.New(t)
	_, address := serveIdentity(t, ca, "identity")
	_, impostor := serveIdentity(t, ca, "telemetry")
	tests := []struct {
		name  string
		token func() (string, error)
		want  string
	}{
		{"a server of another root", token(t, selfidtest.New(t), address, nil), "presents no authority that the token names"},
		{"a server that is not identity", token(t, ca, impostor, nil), "weft-system/sa/telemetry"},
		{"another trust domain", token(t, ca, address, func(t *jointoken.Token) { t.TrustDomain = "other.local" }), "other.local"},
		{"an unknown secret", token(t, ca, address, func(t *jointoken.Token) { t.Secret = "guess" }), "used or unknown"},
		{"no token", func() (string, error) { return "", errors.New("no token") }, "no token"},
		{"garbage", func() (string, error) { return "weft0.x", nil }, "join token is not valid"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, err := remote(t, ca, spiffe.NewSource(nil), tc.token).Issue(t.Context(), "policy", request(t))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Issue = %v, want an error that says %q", err, tc.want)
			}
		})
	}
}
