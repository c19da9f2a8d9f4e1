package rpc

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// maxMessage bounds one message either way; a resync of a large catalogue is the largest.
const maxMessage = 64 << 20

// window is how much one call may send before it has been read; a connection may send four times as much. It is fixed: a window
// that adapts is measured by a ping for each message that comes in, and on streams of small messages those pings cost more than
// the messages.
const window = 256 << 10

// writeBuffer is as much as one TLS record takes: more would only be held by more connections at once.
const writeBuffer = 16 << 10

// ServerConfig is what a server needs.
type ServerConfig struct {
	// Log gets what went wrong inside; never what callers did wrong.
	Log *zap.Logger
	// Trust holds the SVID that the server presents and the bundle that callers are verified against.
	Trust *spiffe.Source
	// Anonymous lets callers connect who have no SVID; their methods still need rules that allow them. The server then
	// presents its root too, so that such callers can compare it with the hash in a join token.
	Anonymous bool
	// Metrics is where request counters and latencies are registered.
	Metrics prometheus.Registerer
	// SVIDTTL is the lifetime of callers' SVIDs; 0: connections never age. A connection is verified when it is made, so it
	// must not outlive the SVID that made it: after a quarter of the lifetime new calls go over a new connection, after
	// another quarter what still runs on the old one is ended. SVIDs are renewed at half, so that both come in time.
	SVIDTTL time.Duration
}

// Server is one service's gRPC server on SPIFFE mTLS. It serves every listener alike, in memory or not.
type Server struct {
	grpc      *grpc.Server
	registrar *Registrar
	health    *health.Server
	drain     drain
}

// NewServer makes a server that has the health service and nothing else.
func NewServer(cfg ServerConfig) (*Server, error) {
	metrics, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, err
	}
	s := &Server{health: health.NewServer(), drain: newDrain()}
	chain := &chain{log: cfg.Log, trust: cfg.Trust, metrics: metrics, drain: s.drain.ctx}
	s.grpc = grpc.NewServer(
		grpc.Creds(newPaced(credentials.NewTLS(serverTLS(cfg)))),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		// The timeout is generous, because a replica that is late itself must not take its clients for dead: they would all come
		// back, and make it later still.
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 10 * time.Second, Timeout: 15 * time.Second, MaxConnectionAge: cfg.SVIDTTL / 4, MaxConnectionAgeGrace: cfg.SVIDTTL / 4,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		// A replica has ten thousand connections on which seldom anything happens: what they hold while they rest counts. TLS
		// buffers records anyway, so that reading needs no buffer of its own; those for writing are lent while there is something to write.
		grpc.ReadBufferSize(0),
		grpc.WriteBufferSize(writeBuffer),
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(4*window),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.StatsHandler(connections{}),
		grpc.UnaryInterceptor(chain.unary),
		grpc.StreamInterceptor(chain.stream),
	)
	s.registrar = NewRegistrar(s.grpc)
	chain.rule, chain.leaves = s.registrar.rule, func(method string) bool { return s.registrar.leaving[method] }
	s.SetServing(false)
	grpc_health_v1.RegisterHealthServer(s.registrar, s.health)
	s.registrar.AllowService(&grpc_health_v1.Health_ServiceDesc, Anyone())
	return s, nil
}

func serverTLS(cfg ServerConfig) *tls.Config {
	if !cfg.Anonymous {
		return spiffe.ServerTLS(cfg.Trust, spiffe.AnyMember(cfg.Trust))
	}
	conf := spiffe.ServerTLSOptional(cfg.Trust, spiffe.AnyMember(cfg.Trust))
	conf.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return withRoot(cfg.Trust) }
	return conf
}

// withRoot is the SVID with the root that issued it behind its chain.
func withRoot(trust *spiffe.Source) (*tls.Certificate, error) {
	m := trust.Load()
	if m == nil {
		return nil, spiffe.ErrNoSVID
	}
	chain, err := spiffe.Certificates(m.Certificate.Certificate)
	if err != nil {
		return nil, err
	}
	last := chain[len(chain)-1]
	for _, root := range m.Bundle.X509Authorities() {
		if bytes.Equal(last.RawIssuer, root.RawSubject) && last.CheckSignatureFrom(root) == nil {
			cert := m.Certificate
			cert.Certificate = append(slices.Clone(cert.Certificate), root.Raw)
			return &cert, nil
		}
	}
	return &m.Certificate, nil
}

// Registrar is where the service registers its methods and rules, before Serve.
func (s *Server) Registrar() *Registrar { return s.registrar }

// SetServing tells health checks, and thereby the clients that balance over replicas, whether to send requests here.
func (s *Server) SetServing(yes bool) {
	status := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if yes {
		status = grpc_health_v1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", status)
}

// Check reports the registered methods that have no rule: each would be refused to everybody, which nobody means.
func (s *Server) Check() error {
	var missing []string
	for service, info := range s.grpc.GetServiceInfo() {
		for _, m := range info.Methods {
			if name := "/" + service + "/" + m.Name; s.registrar.rule(name) == nil {
				missing = append(missing, name)
			}
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return fmt.Errorf("no rule says who may call %s", strings.Join(missing, ", "))
	}
	return nil
}

// Serve accepts on every listener until ctx ends. Then it ends all streams with UNAVAILABLE, lets running unary calls
// finish until the deadline that stop returns, and closes what is left. It closes the listeners.
func (s *Server) Serve(ctx context.Context, stop func() time.Time, listeners ...net.Listener) error {
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { ended <- s.grpc.Serve(l) }()
	}
	var first error
	running := len(listeners)
	select {
	case <-ctx.Done():
	case first = <-ended:
		running--
		first = fmt.Errorf("serve gRPC: %w", first)
	}
	s.health.Shutdown()
	s.drain.begin()
	s.stop(stop())
	for ; running > 0; running-- {
		if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			first = errors.Join(first, err)
		}
	}
	return first
}

func (s *Server) stop(deadline time.Time) {
	timer := time.AfterFunc(time.Until(deadline), s.grpc.Stop)
	defer timer.Stop()
	s.grpc.GracefulStop()
}
