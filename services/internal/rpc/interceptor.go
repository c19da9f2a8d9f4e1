package rpc

import (
	"context"
	"errors"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/fault"
)

// gateway is the only service whose word about a person is taken.
const gateway = "gateway"

// principalKey is the metadata key of the person on whose behalf the gateway calls.
const principalKey = "weft-principal"

// namespacesKey is the metadata key of the namespaces that the person may see; absent: all.
const namespacesKey = "weft-namespaces"

// WithPrincipal is for the gateway: calls made with the context are on behalf of a person, who is to be told of nothing outside
// of some namespaces, or of everything when there are none.
func WithPrincipal(ctx context.Context, principal string, namespaces []string) context.Context {
	ctx = metadata.AppendToOutgoingContext(ctx, principalKey, url.PathEscape(principal)) // metadata is ASCII
	if len(namespaces) > 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, namespacesKey, strings.Join(namespaces, ","))
	}
	return ctx
}

// chain is what every request passes, in this order: counters, fault to status, panics to faults, caller, rule, handler.
type chain struct {
	log     *zap.Logger
	trust   *spiffe.Source
	metrics *metrics
	drain   context.Context
	rule    func(method string) Allow
	leaves  func(method string) bool
}

func (c *chain) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	started := time.Now()
	err = c.guard(info.FullMethod, func() error {
		ctx, err := c.admit(ctx, info.FullMethod)
		if err != nil {
			return err
		}
		resp, err = handler(ctx, req)
		return err
	})
	err = c.finish(ctx, info.FullMethod, err)
	c.metrics.unary(info.FullMethod, status.Code(err), time.Since(started))
	return resp, err
}

func (c *chain) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	c.metrics.open(info.FullMethod, 1)
	defer c.metrics.open(info.FullMethod, -1)
	ctx, cancel := context.WithCancelCause(ss.Context())
	defer cancel(nil)
	defer context.AfterFunc(c.drain, func() { cancel(context.Cause(c.drain)) })()
	err := c.guard(info.FullMethod, func() error {
		ctx, err := c.admit(ctx, info.FullMethod)
		if err != nil {
			return err
		}
		if c.leaves(info.FullMethod) {
			return handler(srv, &contextStream{ServerStream: ss, ctx: ctx})
		}
		return handler(srv, &drainStream{contextStream: contextStream{ServerStream: ss, ctx: ctx}, drain: c.drain})
	})
	err = c.finish(ctx, info.FullMethod, err)
	c.metrics.stream(info.FullMethod, status.Code(err))
	return err
}

// guard turns a panic of one request into a fault of that request.
func (c *chain) guard(method string, call func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error("rpc handler panicked", zap.String("method", method), zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
			err = fault.New(fault.Internal, "internal error, see the log")
		}
	}()
	return call()
}

// admit finds out who calls and asks the method's rule.
func (c *chain) admit(ctx context.Context, method string) (context.Context, error) {
	caller, err := c.caller(ctx)
	if err != nil {
		return nil, err
	}
	rule := c.rule(method)
	if rule == nil {
		return nil, fault.New(fault.Denied, "%s has no rule that allows anybody", method)
	}
	ctx = WithCaller(ctx, caller)
	if err := rule(ctx, caller); err != nil {
		if caller.Anonymous() {
			return nil, fault.Wrap(fault.Anonymous, err, "%s needs a client certificate", method)
		}
		return nil, fault.Wrap(fault.Denied, err, "%s is not allowed", method)
	}
	return ctx, nil
}

// finish maps an error to a status and logs those that are this side's fault. A stream that was ended because the server
// drains ends with UNAVAILABLE, whatever its handler made of it.
func (c *chain) finish(ctx context.Context, method string, err error) error {
	if err == nil {
		return nil
	}
	if Draining(ctx) && (errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled) {
		err = errDraining
	}
	st := toStatus(err)
	if st.Code() == codes.Internal || st.Code() == codes.Unknown {
		c.log.Error("rpc failed", zap.String("method", method), zap.Error(err))
	}
	return st.Err()
}
