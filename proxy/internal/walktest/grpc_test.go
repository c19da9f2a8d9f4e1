package walktest

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// greeter is a gRPC program: it answers with its name and tells who called.
type greeter struct {
	testgrpc.UnimplementedTestServiceServer
	name string
}

func (g *greeter) UnaryCall(ctx context.Context, _ *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	return &testgrpc.SimpleResponse{Hostname: g.name, Username: strings.Join(md.Get("weft-source"), " ")}, nil
}

func (g *greeter) FullDuplexCall(s grpc.BidiStreamingServer[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse]) error {
	for {
		req, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(&testgrpc.StreamingOutputCallResponse{Payload: req.GetPayload()}); err != nil {
			return err
		}
	}
}

func grpcServer(t *testing.T, name string) net.Addr {
	t.Helper()
	ln := Listen(t)
	s := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(s, &greeter{name: name})
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(ln) }) // ends by Stop
	t.Cleanup(func() {
		s.Stop()
		wg.Wait()
	})
	return ln.Addr()
}

func grpcClient(t *testing.T, addr string) testgrpc.TestServiceClient {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return testgrpc.NewTestServiceClient(cc)
}

func TestC11_GRPCThroughBothAssemblies(t *testing.T) {
	for name, protocol := range map[string]table.Protocol{"declared": table.GRPC, "HTTP": table.HTTP, "detected": table.Detect} {
		t.Run(name, func(t *testing.T) {
			m := New(t)
			m.Service("greet", protocol)
			w := m.Workload("greet", "greet-1", grpcServer(t, "one"), m.Allow("shop"))
			c := m.Client("shop")
			client := grpcClient(t, c.Upstream("greet"))
			got, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{})
			if err != nil || got.GetHostname() != "one" || got.GetUsername() != "spiffe://weft.local/ns/default/sa/shop" {
				t.Fatalf("UnaryCall = %v, %v", got, err)
			}
			out, in := c.Records.Wait(1)[0], onlyGRPC(w.Records)
			if out.Protocol != flow.GRPC || !out.MTLS || out.GRPCStatus != 0 || out.Service != "default/greet" || out.Endpoint != w.Endpoint {
				t.Errorf("outbound record %+v", out)
			}
			if in.Protocol != flow.GRPC || !in.MTLS || in.Rule != "default/allow[0]" || in.RequestID != out.RequestID || in.Service != "default/greet" {
				t.Errorf("inbound record %+v", in)
			}
		})
	}
}

// onlyGRPC waits for the record of a call: where a protocol is detected, the connection that was tried first has one too.
func onlyGRPC(r *Records) flow.Record {
	for n := 1; ; n++ {
		if list := r.Wait(n); list[n-1].Protocol == flow.GRPC {
			return list[n-1]
		}
	}
}

func TestL2_GRPCBalancesRequestsNotConnections(t *testing.T) {
	m := New(t)
	m.Service("greet", table.GRPC)
	for _, name := range []string{"one", "two", "three"} {
		m.Workload("greet", name, grpcServer(t, name), m.Allow("shop"))
	}
	c := m.Client("shop")
	client := grpcClient(t, c.Upstream("greet"))
	got := map[string]int{}
	for range 150 {
		r, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{})
		if err != nil {
			t.Fatal(err)
		}
		got[r.GetHostname()]++
	}
	if len(got) != 3 {
		t.Errorf("answered by %v, want all three", got)
	}
	if n := c.Outbound.Handshakes().Full.Load() + c.Outbound.Handshakes().Resumed.Load(); n != 3 {
		t.Errorf("E4: %d handshakes for 150 requests to 3 endpoints", n)
	}
}

func TestT1_GRPCMethodsAreAllowedOneByOne(t *testing.T) {
	m := New(t)
	m.Service("greet", table.GRPC)
	access := m.Allow("shop")
	access.Rules[0].Matches = []match.HTTP{{Path: match.Exact("/grpc.testing.TestService/FullDuplexCall")}}
	m.Workload("greet", "greet-1", grpcServer(t, "one"), access)
	client := grpcClient(t, m.Client("shop").Upstream("greet"))
	var trailer metadata.MD
	if _, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{}, grpc.Trailer(&trailer)); status.Code(err) != codes.PermissionDenied {
		t.Errorf("UnaryCall: %v, want PermissionDenied", err)
	}
	if got := strings.Join(trailer.Get("weft-error"), ""); !strings.HasPrefix(got, "hop=inbound, reason=denied") {
		t.Errorf("weft-error %q", got)
	}
	s, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&testgrpc.StreamingOutputCallRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Errorf("FullDuplexCall: %v", err)
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestR3_DrainKeepsGRPCStreams(t *testing.T) {
	m := New(t)
	m.Service("greet", table.GRPC)
	w := m.Workload("greet", "greet-1", grpcServer(t, "one"), m.Allow("shop"))
	c := m.Client("shop")
	s, err := grpcClient(t, c.Upstream("greet")).FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	turn := func() {
		t.Helper()
		if err := s.Send(&testgrpc.StreamingOutputCallRequest{}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	turn()
	drained := make(chan error, 2)
	go func() { drained <- w.Inbound.Drain(t.Context()) }()
	go func() { drained <- c.Outbound.Drain(t.Context()) }()
	for range 20 {
		turn()
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: %v", err)
	}
	for range 2 {
		if err := <-drained; err != nil {
			t.Error(err)
		}
	}
}

func TestGRPCToNobodyIsReadable(t *testing.T) {
	m := New(t)
	m.Service("greet", table.GRPC)
	client := grpcClient(t, m.Client("shop").Upstream("greet"))
	_, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{})
	if s := status.Convert(err); s.Code() != codes.Unavailable || !strings.Contains(s.Message(), "no_endpoint") {
		t.Errorf("UnaryCall: %v", err)
	}
}

func TestR1_GRPCGoesElsewhereWhenAProgramDies(t *testing.T) {
	m := New(t)
	m.Service("greet", table.GRPC)
	first := m.Workload("greet", "dead", Refusing(t), m.Allow("shop"))
	m.Workload("greet", "alive", grpcServer(t, "alive"), m.Allow("shop"))
	c := m.Client("shop")
	client := grpcClient(t, c.Upstream("greet"))
	for range 100 {
		r, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{})
		if err != nil || r.GetHostname() != "alive" {
			t.Fatalf("UnaryCall = %v, %v", r, err)
		}
	}
	tries := 0
	for _, r := range c.Records.Wait(100) {
		tries += r.Tries
	}
	if tries > 110 {
		t.Errorf("%d tries for 100 calls: the dead program was not left alone", tries)
	}
	m.Change(func(_ *table.Mesh, services map[string]*table.Service) {
		set := services["default/greet"].Rules[0].Backends[0].Set
		set.Endpoints = []*table.Endpoint{first.Endpoint}
	})
	var trailer metadata.MD
	if _, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{}, grpc.Trailer(&trailer)); status.Code(err) != codes.Unavailable ||
		!strings.HasPrefix(strings.Join(trailer.Get("weft-error"), ""), "hop=inbound, reason=connect") {
		t.Errorf("with nobody left: %v, %v", err, trailer)
	}
}
