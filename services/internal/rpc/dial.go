package rpc

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/health" // lets round_robin leave out replicas that say they are not serving
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// reconnectTime is how long a unary call waits for a replica when none can be reached: longer than one is left alone after a
// failed attempt, so that one that is back already is found before the call fails.
const reconnectTime, reconnectDelay = 2 * time.Second, time.Second

// callTimeout bounds a unary call whose caller set no deadline, so that nothing waits for ever on a half-dead peer.
const callTimeout = 15 * time.Second

// DialConfig says whom to connect to.
type DialConfig struct {
	// Service is the control-plane service that is expected at the other end.
	Service string
	// Trust holds the SVID to present and the bundle to verify with. Calls wait until it holds something.
	Trust *spiffe.Source
	// TrustDomain of the mesh.
	TrustDomain spiffeid.TrustDomain
	// Addresses of the replicas, host:port.
	Addresses []string
	// InMemory replaces the network when set.
	InMemory func(ctx context.Context) (net.Conn, error)
	// Direct sends to the first address whether it says that it is serving or not; for asking peers.
	Direct bool
}

// Calls go round the replicas (round_robin) and not to the first that connects: it holds a connection to each, so that the
// loss of one costs no new handshake, and it leaves out those whose health says that they drain or have not caught up. The
// few long streams of the control plane spread the same way.
const roundRobin = `{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}`

// direct takes the one address there is.
const direct = `{"loadBalancingConfig": [{"pick_first": {}}]}`

// Dial makes a connection that is set up when it is first used, and again whenever it breaks.
func Dial(cfg DialConfig) (*grpc.ClientConn, error) {
	want, err := spiffe.ID(cfg.TrustDomain, spiffe.Account{Namespace: spiffe.SystemNamespace, Name: cfg.Service})
	if err != nil {
		return nil, err
	}
	addresses := cfg.Addresses
	if cfg.InMemory != nil {
		addresses = []string{"memory"}
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("dial %s: no address", cfg.Service)
	}
	state := resolver.State{}
	for _, a := range addresses {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: a}}})
	}
	replicas := manual.NewBuilderWithScheme("weft")
	replicas.InitialState(state)
	policy := roundRobin
	if cfg.Direct {
		policy = direct
	}
	conn, err := grpc.NewClient("weft:///"+cfg.Service,
		grpc.WithResolvers(replicas),
		grpc.WithDefaultServiceConfig(policy),
		grpc.WithDisableServiceConfig(),
		grpc.WithTransportCredentials(credentials.NewTLS(spiffe.ClientTLS(cfg.Trust, spiffe.OneOf(want)))),
		grpc.WithContextDialer(dialer(cfg.InMemory)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: reconnectDelay},
			MinConnectTimeout: 3 * time.Second,
		}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithIdleTimeout(0),
		grpc.WithUnaryInterceptor(waitUnary(cfg.Trust, !cfg.Direct)),
		grpc.WithStreamInterceptor(waitStream(cfg.Trust)),
	)
	if err != nil {
		return nil, fmt.Errorf("dial %s at %q: %w", cfg.Service, addresses, err)
	}
	return conn, nil
}

func dialer(inMemory func(context.Context) (net.Conn, error)) func(context.Context, string) (net.Conn, error) {
	if inMemory != nil {
		return func(ctx context.Context, _ string) (net.Conn, error) { return inMemory(ctx) }
	}
	var d net.Dialer
	return func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
}

func waitUnary(trust *spiffe.Source, reconnect bool) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if _, ok := ctx.Deadline(); !ok {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, callTimeout)
			defer cancel()
		}
		if err := waitTrust(ctx, trust, method); err != nil {
			return err
		}
		if reconnect {
			waitReplica(ctx, cc)
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
}

// waitReplica waits for a moment while no replica can be reached: the one that works may have been away when it was tried last.
func waitReplica(ctx context.Context, cc *grpc.ClientConn) {
	ctx, cancel := context.WithTimeout(ctx, reconnectTime)
	defer cancel()
	for cc.GetState() == connectivity.TransientFailure && cc.WaitForStateChange(ctx, connectivity.TransientFailure) {
	}
}

// waitStream also makes streams wait for a replica that serves: they are watches, which have nothing better to do. Unary calls
// fail soon, because somebody waits for their answer.
func waitStream(trust *spiffe.Source) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		if err := waitTrust(ctx, trust, method); err != nil {
			return nil, err
		}
		return open(ctx, desc, cc, method, append([]grpc.CallOption{grpc.WaitForReady(true)}, opts...)...)
	}
}

// waitTrust waits for this side's own SVID: without it every handshake fails, and the connection backs off for nothing.
func waitTrust(ctx context.Context, trust *spiffe.Source, method string) error {
	if _, err := trust.Wait(ctx); err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	return nil
}
