package rpctest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// Access is one running server of one service.
type Access struct {
	tb      testing.TB
	service string
	desc    *grpc.ServiceDesc
	ca      *testca.CA
	memory  rpc.Memory
}

// NewAccess serves a service until the test ends.
func NewAccess(tb testing.TB, service string, desc *grpc.ServiceDesc, register func(*rpc.Registrar)) *Access {
	tb.Helper()
	a := &Access{tb: tb, service: service, desc: desc, ca: testca.New(tb, "weft.local"), memory: rpc.NewMemory()}
	server, err := rpc.NewServer(rpc.ServerConfig{Log: zap.NewNop(), Trust: a.ca.Source(tb, System(service)), Metrics: prometheus.NewRegistry()})
	if err != nil {
		tb.Fatal(err)
	}
	register(server.Registrar())
	server.SetServing(true)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, func() time.Time { return time.Now().Add(time.Minute) }, a.memory) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("serve %s: %v", service, err)
		}
	})
	return a
}

// System is the account of a service of the control plane.
func System(service string) spiffe.Account {
	return spiffe.Account{Namespace: spiffe.SystemNamespace, Name: service}
}

// Allowed calls every method as the account, with an empty request, and returns the names of those that were not denied.
func (a *Access) Allowed(as spiffe.Account) []string {
	a.tb.Helper()
	conn, err := rpc.Dial(rpc.DialConfig{Service: a.service, Trust: a.ca.Source(a.tb, as), TrustDomain: a.ca.TrustDomain(), InMemory: a.memory.Dial})
	if err != nil {
		a.tb.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // nothing is in flight
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out []string
	for _, m := range a.desc.Methods {
		err := conn.Invoke(ctx, "/"+a.desc.ServiceName+"/"+m.MethodName, &emptypb.Empty{}, &emptypb.Empty{})
		if a.admitted(m.MethodName, err) {
			out = append(out, m.MethodName)
		}
	}
	for i := range a.desc.Streams {
		s := &a.desc.Streams[i]
		if a.admitted(s.StreamName, open(ctx, conn, s, "/"+a.desc.ServiceName+"/"+s.StreamName)) {
			out = append(out, s.StreamName)
		}
	}
	slices.Sort(out)
	return out
}

// admitted judges an answer: whatever a handler said of the empty request, it was asked.
func (a *Access) admitted(method string, err error) bool {
	code := status.Code(err)
	if code == codes.Unavailable || code == codes.Unauthenticated || code == codes.Unimplemented {
		a.tb.Errorf("%s: %v", method, err)
	}
	return code != codes.PermissionDenied
}

// open opens a stream and returns how it began.
func open(ctx context.Context, conn *grpc.ClientConn, desc *grpc.StreamDesc, method string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, desc, method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&emptypb.Empty{}); err != nil {
		return stream.RecvMsg(&emptypb.Empty{}) // it holds the reason
	}
	return stream.RecvMsg(&emptypb.Empty{})
}
