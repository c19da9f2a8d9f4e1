package controltest

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/internal/testca"
)

// Plane is one control plane.
type Plane struct {
	// CA is the authority of the mesh.
	CA *testca.CA
	// Identity, Discovery, Distributor and Telemetry are its services.
	Identity    *Identity
	Discovery   *Discovery
	Distributor *Distributor
	Telemetry   *Telemetry

	tb      testing.TB
	mu      sync.Mutex
	ports   map[string]string
	servers []*grpc.Server
	serving sync.WaitGroup
}

// New starts a control plane that stops with the test.
func New(tb testing.TB) *Plane {
	p := &Plane{CA: testca.New(tb, "weft.local"), tb: tb, ports: map[string]string{}}
	p.Identity = &Identity{plane: p, tokens: map[string]spiffe.Account{}, TTL: time.Hour}
	p.Discovery = &Discovery{workloads: map[string]*discoverypb.Workload{}, ends: map[string]chan struct{}{}, changed: make(chan struct{})}
	p.Distributor = &Distributor{wanted: map[string][]*configpb.Resource{}, changed: make(chan struct{})}
	p.Telemetry = &Telemetry{edges: map[string]*telemetrypb.EdgeCounters{}, changed: make(chan struct{})}
	p.Start()
	tb.Cleanup(p.Stop)
	return p
}

// Start serves, on the ports of before if there was a before.
func (p *Plane) Start() {
	p.tb.Helper()
	p.serve("identity", true, func(s *grpc.Server) { identitypb.RegisterIdentityServiceServer(s, p.Identity) })
	p.serve("discovery", false, func(s *grpc.Server) { discoverypb.RegisterDiscoveryServiceServer(s, p.Discovery) })
	p.serve("distributor", false, func(s *grpc.Server) { configpb.RegisterConfigServiceServer(s, p.Distributor) })
	p.serve("telemetry", false, func(s *grpc.Server) { telemetrypb.RegisterTelemetryServiceServer(s, p.Telemetry) })
}

// Stop cuts every connection and serves no more.
func (p *Plane) Stop() {
	p.mu.Lock()
	servers := p.servers
	p.servers = nil
	p.mu.Unlock()
	for _, s := range servers {
		s.Stop()
	}
	p.serving.Wait()
}

func (p *Plane) serve(service string, optional bool, register func(*grpc.Server)) {
	p.tb.Helper()
	source := p.CA.Source(p.tb, spiffe.Account{Namespace: spiffe.SystemNamespace, Name: service}, testca.WithRoot())
	var config *tls.Config
	if optional {
		config = spiffe.ServerTLSOptional(source, spiffe.AnyMember(source))
	} else {
		config = spiffe.ServerTLS(source, spiffe.AnyMember(source))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	address := p.ports[service]
	if address == "" {
		address = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		p.tb.Fatalf("listen for %s: %v", service, err)
	}
	p.ports[service] = ln.Addr().String()
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
	register(s)
	p.servers = append(p.servers, s)
	p.serving.Go(func() { _ = s.Serve(ln) })
}

// Addresses of the services.
func (p *Plane) Addresses() jointoken.Addresses {
	p.mu.Lock()
	defer p.mu.Unlock()
	return jointoken.Addresses{
		Identity: []string{p.ports["identity"]}, Discovery: []string{p.ports["discovery"]},
		Distributor: []string{p.ports["distributor"]}, Telemetry: []string{p.ports["telemetry"]},
	}
}

// Token mints a join token for an account.
func (p *Plane) Token(account spiffe.Account) string {
	p.tb.Helper()
	text, err := jointoken.Encode(jointoken.Token{
		TrustDomain: "weft.local", Roots: []jointoken.Fingerprint{jointoken.FingerprintOf(p.CA.Root())}, Addresses: p.Addresses(),
		ID: p.Identity.mint(account), Secret: "secret of a test", Expires: time.Now().Add(time.Minute),
	})
	if err != nil {
		p.tb.Fatal(err)
	}
	return text
}

// caller is the account of the verified peer, or an error that ends the call.
func caller(ctx context.Context) (spiffe.Account, error) {
	pr, _ := peer.FromContext(ctx)
	info, ok := pr.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return spiffe.Account{}, status.Error(codes.Unauthenticated, "no client certificate")
	}
	uris := info.State.PeerCertificates[0].URIs
	if len(uris) != 1 {
		return spiffe.Account{}, status.Error(codes.Unauthenticated, "no SPIFFE ID")
	}
	id, err := spiffeid.FromURI(uris[0])
	if err != nil {
		return spiffe.Account{}, status.Error(codes.Unauthenticated, err.Error())
	}
	return spiffe.ParseID(id)
}

// await blocks until ok says so, asked again after every change, or ctx ends.
func await(ctx context.Context, changed func() <-chan struct{}, ok func() bool) error {
	for {
		ch := changed()
		if ok() {
			return nil
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return errors.New("it did not happen in time")
		}
	}
}
