package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/gateway/audit"
	"github.com/weft-mesh/weft/services/gateway/limit"
	"github.com/weft-mesh/weft/services/gateway/repeat"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
	"github.com/weft-mesh/weft/services/internal/rpc"
	policyservice "github.com/weft-mesh/weft/services/policy"
)

// rig is a gateway on real ports in front of the real policy service and fakes of the others, on mTLS as in a process.
type rig struct {
	rest, grpc string
	source     *spiffe.Source
	catalogue  *fakeDiscovery
	identity   *fakeIdentity
	sidecars   *fakeDistributor
	metrics    *prometheus.Registry
	stop       func()
	servers    map[string]*rpc.Server
	store      *memkv.Store
	configure  func(*Config)
	// replica starts another gateway in front of the same services, with the same store.
	replica func() *rig

	mu  *sync.Mutex
	now *time.Time
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return *r.now
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*r.now = r.now.Add(d)
}

func newRig(t *testing.T, mode string, configure ...func(*Config)) *rig {
	t.Helper()
	ca := testca.New(t, "weft.local")
	source := func(service string) *spiffe.Source {
		return ca.Source(t, spiffe.Account{Namespace: spiffe.SystemNamespace, Name: service})
	}
	r := &rig{
		catalogue: newFakeDiscovery(), identity: &fakeIdentity{}, sidecars: &fakeDistributor{}, source: source("gateway"),
		mu: &sync.Mutex{}, now: new(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), servers: map[string]*rpc.Server{}, metrics: prometheus.NewRegistry(),
		store: memkv.New(),
		configure: func(c *Config) {
			for _, f := range configure {
				f(c)
			}
		},
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(cancel)

	intent, err := policyservice.New(policyservice.Config{}, policyservice.Deps{
		Log: zap.NewNop(), Store: memkv.New(), Metrics: prometheus.NewRegistry(), Gateway: "gateway", Distributor: "distributor",
	})
	must(t, err)
	wg.Go(func() { must(t, intent.Run(ctx)) })

	conns := map[string]grpc.ClientConnInterface{}
	for service, register := range map[string]func(*rpc.Registrar){
		policy: intent.Register,
		discovery: func(r0 *rpc.Registrar) {
			discoverypb.RegisterDiscoveryServiceServer(r0, r.catalogue)
			r0.AllowService(&discoverypb.DiscoveryService_ServiceDesc, rpc.Services("gateway"))
		},
		identity: func(r0 *rpc.Registrar) {
			identitypb.RegisterIdentityServiceServer(r0, r.identity)
			r0.AllowService(&identitypb.IdentityService_ServiceDesc, rpc.Services("gateway"))
		},
		distributor: func(r0 *rpc.Registrar) {
			configpb.RegisterConvergenceServiceServer(r0, r.sidecars)
			r0.AllowService(&configpb.ConvergenceService_ServiceDesc, rpc.Services("gateway"))
		},
	} {
		server, err := rpc.NewServer(rpc.ServerConfig{Log: zap.NewNop(), Trust: source(service), Metrics: prometheus.NewRegistry()})
		must(t, err)
		register(server.Registrar())
		server.SetServing(true)
		r.servers[service] = server
		memory := rpc.NewMemory()
		wg.Go(func() { must(t, server.Serve(ctx, time.Now, memory)) })
		conn, err := rpc.Dial(rpc.DialConfig{
			Service: service, Trust: r.source, TrustDomain: spiffeid.RequireTrustDomainFromString("weft.local"), InMemory: memory.Dial,
		})
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		conns[service] = conn
	}
	absent, err := grpc.NewClient("passthrough:///absent", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return nil, net.ErrClosed }))
	must(t, err)
	t.Cleanup(func() { absent.Close() })
	conns[telemetry] = absent

	dial := func(service string) (grpc.ClientConnInterface, error) { return conns[service], nil }
	r.start(t, ctx, &wg, mode, dial)
	r.replica = func() *rig {
		other := *r
		other.metrics = prometheus.NewRegistry()
		other.start(t, ctx, &wg, mode, dial)
		return &other
	}
	return r
}

func (r *rig) start(t *testing.T, ctx context.Context, wg *sync.WaitGroup, mode string, dial Dial) {
	t.Helper()
	grpcPort, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	restPort, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	cfg := Config{
		TLS: mode, Drain: 10 * time.Second, SVIDTTL: 48 * time.Hour,
		Limits: limit.Default(), Audit: audit.Default(), Repeat: repeat.Config{Window: time.Hour},
	}
	if r.configure != nil {
		r.configure(&cfg)
	}
	s, err := New(cfg, Deps{
		Store: r.store,
		Log:   zap.NewNop(), Metrics: r.metrics, Dial: dial, Trust: r.source, GRPC: grpcPort, REST: restPort, Replica: "me",
		Peers: func() []string { return nil }, Now: r.clock,
		DialEach: func(service string) (map[string]grpc.ClientConnInterface, error) {
			conn, err := dial(service)
			return map[string]grpc.ClientConnInterface{"me": conn}, err
		},
	})
	must(t, err)
	s.every = 10 * time.Millisecond
	ctx, r.stop = context.WithCancel(ctx)
	wg.Go(func() { must(t, s.Run(ctx)) })
	r.grpc, r.rest = grpcPort.Addr().String(), "http://"+restPort.Addr().String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// call makes a REST request with an administrator's token and decodes the answer.
func (r *rig) call(t *testing.T, method, path, body string, answer any) *http.Response {
	t.Helper()
	return r.callAs(t, "Bearer good", method, path, body, answer)
}

func (r *rig) callAs(t *testing.T, authorization, method, path, body string, answer any) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.rest+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded") // as curl -d says, although it is JSON
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer != nil {
		if err := json.Unmarshal(text, answer); err != nil {
			t.Fatalf("%s %s: %v in %q", method, path, err, text)
		}
	}
	return resp
}

// conn is a gRPC connection to the gateway; every call carries an administrator's token.
func (r *rig) conn(t *testing.T) (*grpc.ClientConn, context.Context) {
	t.Helper()
	conn, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer good")
}
