package gateway

import (
	"context"
	"errors"
	"runtime/debug"
	"strings"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// maxMessage bounds one message either way.
const maxMessage = 64 << 20

// newServer makes the gRPC server that every call goes through. Whether its connections are TLS is their listener's matter.
func (s *Service) newServer() *grpc.Server {
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(s.proxy.codec),
		grpc.UnknownServiceHandler(s.proxy.handle),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		// Dead clients must not hold streams, and careful ones may ask whether the gateway is alive.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	adminpb.RegisterAdminServiceServer(server, s)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	return server
}

func (s *Service) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	err = s.admit(ctx, info.FullMethod, func(ctx context.Context) error {
		resp, err = handler(ctx, req)
		return err
	})
	return resp, err
}

func (s *Service) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return s.admit(ss.Context(), info.FullMethod, func(ctx context.Context) error {
		return handler(srv, &callStream{ss, ctx})
	})
}

// callStream is a stream whose context says who calls, and which ends when the gateway stops.
type callStream struct {
	grpc.ServerStream
	ctx context.Context // replaces the stream's own, which is what interceptors are for
}

// Context is the context of the call.
func (s *callStream) Context() context.Context { return s.ctx }

// admit finds out who calls, lets the call happen, and makes a status of what went wrong. Calls that change something are
// logged with the caller's id, whatever becomes of them.
func (s *Service) admit(ctx context.Context, method string, call func(context.Context) error) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if s.proxy.methods[method].stream { // it has no end of its own; other calls may finish
		defer context.AfterFunc(s.draining, func() { cancel(errDraining) })()
	}
	var who string
	began := time.Now()
	defer func() {
		if r := recover(); r != nil {
			s.deps.Log.Error("rpc handler panicked", zap.String("method", method), zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
			err = fault.New(fault.Internal, "internal error, see the log")
		}
		if err != nil && errors.Is(context.Cause(ctx), errDraining) {
			err = errDraining
		}
		err = rpc.StatusOf(err).Err()
		s.calls.done(s.label(method), status.Code(err), time.Since(began))
		if who != "" && changes(method) {
			s.deps.Log.Info("administrator's call", zap.String("method", method), zap.String("principal", who),
				zap.Stringer("code", status.Code(err)))
		}
	}()
	if !public(method) {
		caller, err := s.auth.principal(ctx)
		if err != nil {
			return err
		}
		who = caller.id
		if err := judgeHost(caller, method, nil); err != nil {
			return err
		}
		ctx = withCaller(ctx, caller)
		ctx = rpc.WithPrincipal(rpc.WithCaller(ctx, rpc.Caller{Principal: who}), who)
	}
	return call(ctx)
}

// label is a method's name for metrics. What is not offered has one name together: callers must not make series.
func (s *Service) label(method string) string {
	if _, ok := s.proxy.methods[method]; ok || public(method) {
		return method
	}
	switch method {
	case adminpb.AdminService_Apply_FullMethodName, adminpb.AdminService_GetStatus_FullMethodName, adminpb.AdminService_CheckMesh_FullMethodName:
		return method
	}
	return "other"
}

// errDraining ends streams when the gateway stops: their clients go on at another replica.
var errDraining = fault.New(fault.Unavailable, "the gateway is stopping: go on at another replica")

// changes says whether a method may change something.
func changes(method string) bool {
	name := method[strings.LastIndexByte(method, '/')+1:]
	for _, verb := range []string{"Create", "Update", "Delete", "Apply"} {
		if strings.HasPrefix(name, verb) {
			return true
		}
	}
	return false
}
