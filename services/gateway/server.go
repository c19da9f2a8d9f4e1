package gateway

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
)

// maxMessage bounds one answer.
const maxMessage = 64 << 20

// newServer makes a gRPC server that calls go through: that of people, or the inner one of REST requests. Whether connections
// are TLS is their listener's matter.
func (s *Service) newServer(inner bool) *grpc.Server {
	server := grpc.NewServer(
		grpc.Creds(accepted{insecure.NewCredentials()}),
		grpc.ForceServerCodecV2(s.proxy.codec),
		grpc.UnknownServiceHandler(s.proxy.handle),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			from := s.arrive(ctx, inner)
			x := &unaryExchange{in: req, handler: handler}
			if err := s.admit(ctx, info.FullMethod, from, x); err != nil {
				return nil, err
			}
			return x.out, nil
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			from := s.arrive(stream.Context(), inner)
			return s.admit(stream.Context(), info.FullMethod, from, &streamExchange{srv: srv, stream: stream, handler: handler})
		}),
		grpc.MaxRecvMsgSize(s.cfg.Limits.Body),
		grpc.MaxSendMsgSize(maxMessage),
		// Dead clients must not hold streams, and careful ones may ask whether the gateway is alive.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	adminpb.RegisterAdminServiceServer(server, s)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	return server
}

// arrive reads where a call comes from, and tells its caller by which id it is found again. A REST request has been told.
func (s *Service) arrive(ctx context.Context, inner bool) origin {
	from := originOf(ctx, inner)
	if !inner {
		_ = grpc.SetHeader(ctx, metadata.Pairs(requestID, from.requestID)) // it fails only when headers have been sent
	}
	return from
}

// accepted takes a connection as its listener has decided that it is, plain or TLS, and makes known what certificates the
// client presented.
type accepted struct {
	credentials.TransportCredentials
}

// ServerHandshake does the TLS handshake of a connection that is to be TLS.
func (a accepted) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return a.TransportCredentials.ServerHandshake(conn)
	}
	if err := secured.HandshakeContext(context.Background()); err != nil { // gRPC has set a deadline on the connection
		return nil, nil, err
	}
	return conn, credentials.TLSInfo{
		State: secured.ConnectionState(), CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
	}, nil
}

// Clone copies it.
func (a accepted) Clone() credentials.TransportCredentials {
	return accepted{a.TransportCredentials.Clone()}
}

// label is a method's name for metrics. What is not offered has one name together: callers must not make series.
func (s *Service) label(method string) string {
	if _, ok := s.proxy.methods[method]; ok || public(method) {
		return method
	}
	return "other"
}

// errDraining ends streams when the gateway stops: their clients go on at another replica.
var errDraining = fault.New(fault.Unavailable, "the gateway is stopping: go on at another replica")
