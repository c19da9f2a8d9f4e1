package rpc_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// methods is an identity service whose answers a test sets; what it does not set must not be called.
type methods struct {
	identitypb.UnimplementedIdentityServiceServer
	bundle func(context.Context) error
	watch  func(grpc.ServerStreamingServer[identitypb.WatchBundlesResponse]) error
	issue  func(grpc.BidiStreamingServer[identitypb.IssueX509SVIDRequest, identitypb.IssueX509SVIDResponse]) error
}

func (m *methods) GetBundle(ctx context.Context, _ *identitypb.GetBundleRequest) (*identitypb.GetBundleResponse, error) {
	return &identitypb.GetBundleResponse{Bundle: &identitypb.Bundle{TrustDomain: "weft.local"}}, m.bundle(ctx)
}

func (m *methods) WatchBundles(_ *identitypb.WatchBundlesRequest, s grpc.ServerStreamingServer[identitypb.WatchBundlesResponse]) error {
	return m.watch(s)
}

func (m *methods) IssueX509SVID(s grpc.BidiStreamingServer[identitypb.IssueX509SVIDRequest, identitypb.IssueX509SVIDResponse]) error {
	return m.issue(s)
}

// rig is one server called "policy" in memory, and clients of it.
type rig struct {
	t       *testing.T
	ca      *testca.CA
	trust   *spiffe.Source
	server  *rpc.Server
	memory  rpc.Memory
	metrics *prometheus.Registry
	stop    context.CancelFunc
}

func system(service string) spiffe.Account {
	return spiffe.Account{Namespace: spiffe.SystemNamespace, Name: service}
}

func workload(name string) spiffe.Account { return spiffe.Account{Namespace: "default", Name: name} }

func start(t *testing.T, m *methods, anonymous bool, rules func(*rpc.Registrar)) *rig {
	t.Helper()
	return startAging(t, m, anonymous, 0, rules)
}

func startAging(t *testing.T, m *methods, anonymous bool, ttl time.Duration, rules func(*rpc.Registrar)) *rig {
	t.Helper()
	ca := testca.New(t, "weft.local")
	r := &rig{t: t, ca: ca, trust: ca.Source(t, system("policy")), memory: rpc.NewMemory(), metrics: prometheus.NewRegistry()}
	server, err := rpc.NewServer(rpc.ServerConfig{Log: zaptest.NewLogger(t), Trust: r.trust, Anonymous: anonymous, Metrics: r.metrics, SVIDTTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	r.server = server
	identitypb.RegisterIdentityServiceServer(server.Registrar(), m)
	rules(server.Registrar())
	server.SetServing(true)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	done := make(chan error, 1)
	go func() {
		done <- server.Serve(ctx, func() time.Time { return time.Now().Add(time.Minute) }, r.memory)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return r
}

// client connects as an account of the mesh.
func (r *rig) client(as spiffe.Account, opts ...testca.Option) identitypb.IdentityServiceClient {
	r.t.Helper()
	return r.dial(rpc.DialConfig{Service: "policy", Trust: r.ca.Source(r.t, as, opts...)})
}

func (r *rig) dial(cfg rpc.DialConfig) identitypb.IdentityServiceClient {
	r.t.Helper()
	cfg.TrustDomain = r.ca.TrustDomain()
	cfg.InMemory = r.memory.Dial
	conn, err := rpc.Dial(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return identitypb.NewIdentityServiceClient(conn)
}
