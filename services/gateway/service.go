package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/gateway/audit"
	"github.com/weft-mesh/weft/services/gateway/credential"
	"github.com/weft-mesh/weft/services/gateway/limit"
	"github.com/weft-mesh/weft/services/gateway/repeat"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// Config holds the settings of the service.
type Config struct {
	// TLS says whether the ports serve TLS with the gateway's SVID.
	TLS string
	// Drain is how long running calls may take when the gateway stops.
	Drain time.Duration
	// SVIDTTL is the lifetime of the SVIDs that identity issues, by which a check tells those that were not renewed.
	SVIDTTL time.Duration
	// Limits keep callers from taking the control plane away from each other.
	Limits limit.Config
	// Audit says how much of the audit log is kept, Repeat how long answers of calls with idempotency keys are.
	Audit  audit.Config
	Repeat repeat.Config
	// OIDC says whose tokens are taken beside those of this mesh.
	OIDC credential.OIDCConfig
}

// Validate reports all problems of the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.TLS != TLSAuto && c.TLS != TLSOn && c.TLS != TLSOff {
		errs = append(errs, fmt.Errorf("gateway-tls is %q; on, off and auto are possible", c.TLS))
	}
	if c.Drain < 0 || c.SVIDTTL <= 0 {
		errs = append(errs, fmt.Errorf("drain %s and svid-ttl %s must not be negative", c.Drain, c.SVIDTTL))
	}
	errs = append(errs, c.Limits.Validate(), c.Audit.Validate(), c.Repeat.Validate(), c.OIDC.Validate())
	return errors.Join(errs...)
}

// Deps are what the service needs of its process.
type Deps struct {
	Log *zap.Logger
	// Dial connects to the other services.
	Dial Dial
	// DialEach connects to every replica of a service by itself, by name.
	DialEach func(service string) (map[string]grpc.ClientConnInterface, error)
	// Store is the gateway's own part of the store: the audit log, answers of calls with idempotency keys, and the note of a
	// restore.
	Store kv.Store
	// Trust holds the gateway's SVID.
	Trust *spiffe.Source
	// GRPC and REST are the ports; Run serves and closes them.
	GRPC, REST net.Listener
	// Metrics is where the collectors are registered.
	Metrics prometheus.Registerer
	// Peers names the other replicas of the gateway.
	Peers func() []string
	// Replica is this replica's name.
	Replica string
	// Now is the clock.
	Now func() time.Time
}

// Service is the gateway.
type Service struct {
	adminpb.UnimplementedAdminServiceServer
	cfg     Config
	deps    Deps
	auth    *credential.Authenticator
	limits  *limit.Limiter
	log     *audit.Log
	repeats *repeat.Keeper
	proxy   *proxy
	calls   *calls
	muted   prometheus.Counter
	// every is how often the callers of open streams are looked at again.
	every time.Duration

	// draining ends when the gateway stops; Run cancels it, and calls listen to it.
	draining context.Context
	drain    context.CancelFunc
}

var _ adminpb.AdminServiceServer = (*Service)(nil)

// New makes the service.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration of gateway: %w", err)
	}
	offered, err := methods()
	if err != nil {
		return nil, fmt.Errorf("list the methods of the gateway: %w", err)
	}
	counted, err := newCalls(deps.Metrics)
	if err != nil {
		return nil, err
	}
	events, err := audit.New(cfg.Audit, audit.Deps{Log: deps.Log, Store: deps.Store, Metrics: deps.Metrics, Now: deps.Now})
	if err != nil {
		return nil, err
	}
	issuer, err := credential.NewOIDC(cfg.OIDC, deps.Now)
	if err != nil {
		return nil, fmt.Errorf("configuration of gateway: %w", err)
	}
	s := &Service{
		cfg: cfg, deps: deps, every: 5 * time.Second, calls: counted, muted: counted.muted, limits: limit.New(cfg.Limits, deps.Now), log: events,
		repeats: repeat.New(cfg.Repeat, deps.Store, deps.Log, deps.Now),
		auth: credential.New(credential.Deps{
			Identity: func() (grpc.ClientConnInterface, error) { return deps.Dial(identity) }, Trust: deps.Trust, OIDC: issuer, Now: deps.Now,
		}),
	}
	s.draining, s.drain = context.WithCancel(context.Background())
	s.proxy = &proxy{
		dial: deps.Dial, codec: newCodec(), methods: offered,
		before: map[string]func(context.Context, []byte) error{
			identitypb.IdentityService_CreateJoinToken_FullMethodName: s.beforeJoinToken,
		},
	}
	return s, nil
}

// Register adds nothing: no service calls the gateway. People do, on ports of its own.
func (s *Service) Register(*rpc.Registrar) {}

// Ready says whether the gateway can answer: always, and what it cannot reach is an answer too.
func (s *Service) Ready() error { return nil }

// Run serves both ports until ctx ends, then drains them. REST requests go through a gRPC server of their own in memory,
// with the very same handlers; REST stops first, so that its requests still find that server.
func (s *Service) Run(ctx context.Context) error {
	defer s.drain()
	defer context.AfterFunc(ctx, s.drain)()
	memory := rpc.NewMemory()
	conn, err := grpc.NewClient("passthrough:///gateway",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return memory.Dial(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithStreamInterceptor(failEarly))
	if err != nil {
		return fmt.Errorf("connect to the gateway's own server: %w", err)
	}
	defer conn.Close()
	handler, err := newHandler(context.WithoutCancel(ctx), conn, s.cfg.Limits.Body)
	if err != nil {
		return err
	}
	// One deadline for all that drains, counted from the first that asks.
	deadline := sync.OnceValue(func() time.Time { return time.Now().Add(s.cfg.Drain) })
	ours, people := s.newServer(true), s.newServer(false)
	var group lifecycle.Group
	group.Add("audit log", s.log.Run)
	group.Add("idempotency keys", s.repeats.Run)
	group.Add("calls of REST requests", func(ctx context.Context) error { return serveGRPC(ctx, ours, memory, deadline) })
	group.Add("gRPC port", func(ctx context.Context) error { return serveGRPC(ctx, people, s.secured(s.deps.GRPC, "h2"), deadline) })
	group.Add("REST port", func(ctx context.Context) error { return s.serveREST(ctx, handler, deadline) })
	return group.Run(ctx)
}

func serveGRPC(ctx context.Context, server *grpc.Server, l net.Listener, deadline func() time.Time) error {
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(time.Until(deadline()), server.Stop)
		defer timer.Stop()
		server.GracefulStop()
	})()
	if err := server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve gRPC on %s: %w", l.Addr(), err)
	}
	return nil // after GracefulStop has ended: Serve waits for it
}

func (s *Service) serveREST(ctx context.Context, handler http.Handler, deadline func() time.Time) error {
	server, err := newHTTPServer(handler, s.deps.Log)
	if err != nil {
		return err
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		bounded, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline())
		defer cancel()
		if err := server.Shutdown(bounded); err != nil {
			_ = server.Close() // what is still open after the drain is cut
		}
	})
	err = server.Serve(s.secured(s.deps.REST, "h2", "http/1.1"))
	if !errors.Is(err, http.ErrServerClosed) {
		stop()
		return fmt.Errorf("serve REST on %s: %w", s.deps.REST.Addr(), err)
	}
	<-stopped
	return nil
}
