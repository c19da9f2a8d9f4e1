package main

import (
	"context"
	"flag"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// addMethod is the cart's one method: it takes a product and returns how often it was added.
const addMethod = "/shop.Cart/Add"

// cartDesc is what protoc would generate for: service Cart { rpc Add(StringValue) returns (Int64Value); }
func cartDesc() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "shop.Cart",
		HandlerType: (*cartServer)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Add", Handler: handleAdd}},
	}
}

type cartServer interface {
	Add(ctx context.Context, product *wrapperspb.StringValue) (*wrapperspb.Int64Value, error)
}

func handleAdd(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	in := &wrapperspb.StringValue{}
	if err := decode(in); err != nil {
		return nil, err
	}
	return srv.(cartServer).Add(ctx, in)
}

// redisCart counts in a server that speaks the redis protocol.
type redisCart struct{ store *redis }

func (c redisCart) Add(ctx context.Context, product *wrapperspb.StringValue) (*wrapperspb.Int64Value, error) {
	n, err := c.store.incr(ctx, "cart:"+product.GetValue())
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "store: %s", err)
	}
	return wrapperspb.Int64(n), nil
}

// cart serves the cart over gRPC.
func cart(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("cart", flag.ContinueOnError)
	listen := fs.String("listen", "127.0.0.1:9090", "address to listen on")
	store := fs.String("store", "127.0.0.1:6379", "address of a redis server")
	if err := fs.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := grpc.NewServer()
	server.RegisterService(cartDesc(), redisCart{newRedis(*store)})
	go func() {
		<-ctx.Done()
		server.GracefulStop()
	}()
	return server.Serve(l)
}
