package h2_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/h2"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// app is a real gRPC server. It answers with its name in the payload when it is asked for no bytes.
type app struct {
	testgrpc.UnimplementedTestServiceServer
	name    string
	started chan struct{} // receives when a call that blocks has begun
	ended   chan error    // receives why a call that blocks has ended
}

// startApp runs a gRPC server and returns its address.
func startApp(t testing.TB, name string) (*app, string) {
	t.Helper()
	a := &app{name: name, started: make(chan struct{}, 16), ended: make(chan error, 16)}
	ln := listen(t)
	s := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	testgrpc.RegisterTestServiceServer(s, a)
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(ln) }) // ends by Stop
	t.Cleanup(func() {
		s.Stop()
		wg.Wait()
	})
	return a, ln.Addr().String()
}

func (a *app) EmptyCall(ctx context.Context, _ *testgrpc.Empty) (*testgrpc.Empty, error) {
	a.started <- struct{}{}
	<-ctx.Done()
	a.ended <- ctx.Err()
	return nil, ctx.Err()
}

func (a *app) UnaryCall(ctx context.Context, req *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		echo := metadata.MD{}
		for name, values := range md {
			if strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "weft-") {
				echo["echo-"+name] = values
			}
		}
		if err := grpc.SetHeader(ctx, echo); err != nil {
			return nil, err
		}
		if err := grpc.SetTrailer(ctx, metadata.Pairs("x-trailer", "bye", "x-bin", "\x00\xff")); err != nil {
			return nil, err
		}
	}
	if s := req.GetResponseStatus(); s != nil {
		return nil, status.Error(codes.Code(s.GetCode()), s.GetMessage())
	}
	body := []byte(a.name)
	if n := req.GetResponseSize(); n > 0 {
		body = bytes.Repeat([]byte{'r'}, int(n))
	}
	return &testgrpc.SimpleResponse{Payload: &testgrpc.Payload{Body: body}, Username: fmt.Sprint(len(req.GetPayload().GetBody()))}, nil
}

func (a *app) StreamingOutputCall(req *testgrpc.StreamingOutputCallRequest, s grpc.ServerStreamingServer[testgrpc.StreamingOutputCallResponse]) error {
	for _, p := range req.GetResponseParameters() {
		if err := s.Send(&testgrpc.StreamingOutputCallResponse{Payload: &testgrpc.Payload{Body: make([]byte, p.GetSize())}}); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) StreamingInputCall(s grpc.ClientStreamingServer[testgrpc.StreamingInputCallRequest, testgrpc.StreamingInputCallResponse]) error {
	total := 0
	for {
		req, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return s.SendAndClose(&testgrpc.StreamingInputCallResponse{AggregatedPayloadSize: int32(total)})
		}
		if err != nil {
			return err
		}
		total += len(req.GetPayload().GetBody())
	}
}

// FullDuplexCall echoes, and ends early with a status when it is told to.
func (a *app) FullDuplexCall(s grpc.BidiStreamingServer[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse]) error {
	for {
		req, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if st := req.GetResponseStatus(); st != nil {
			return status.Error(codes.Code(st.GetCode()), st.GetMessage())
		}
		if err := s.Send(&testgrpc.StreamingOutputCallResponse{Payload: req.GetPayload()}); err != nil {
			return err
		}
	}
}

func dialGRPC(t testing.TB, addr string) testgrpc.TestServiceClient {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)), grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return testgrpc.NewTestServiceClient(cc)
}

func payload(n int) *testgrpc.Payload { return &testgrpc.Payload{Body: bytes.Repeat([]byte{'q'}, n)} }

// both runs a test with plaintext and with mTLS between the sidecars.
func both(t *testing.T, test func(t *testing.T, options ...meshOption)) {
	t.Run("plain", func(t *testing.T) { test(t) })
	t.Run("mtls", func(t *testing.T) { test(t, withMTLS) })
}

func TestC16_GRPCThroughAPair(t *testing.T) {
	both(t, func(t *testing.T, options ...meshOption) {
		_, addr := startApp(t, "one")
		m := newMesh(t, []string{addr}, options...)
		client := dialGRPC(t, m.addr)
		for name, call := range map[string]func(*testing.T, testgrpc.TestServiceClient){
			"unary": unary, "large unary": largeUnary, "server streaming": serverStreaming, "client streaming": clientStreaming,
			"ping pong": pingPong, "status": statusAndMessage, "metadata": custom, "early end": earlyEnd, "deadline": deadline,
			"many at once": manyAtOnce,
		} {
			t.Run(name, func(t *testing.T) { call(t, client) })
		}
	})
}

func unary(t *testing.T, client testgrpc.TestServiceClient) {
	got, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{})
	if err != nil || string(got.GetPayload().GetBody()) != "one" {
		t.Fatalf("UnaryCall = %v, %v", got, err)
	}
}

func largeUnary(t *testing.T, client testgrpc.TestServiceClient) {
	const size = 7 << 20
	got, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{Payload: payload(size), ResponseSize: size + 1})
	if err != nil || got.GetUsername() != fmt.Sprint(size) || len(got.GetPayload().GetBody()) != size+1 {
		t.Fatalf("UnaryCall: %s bytes there, %d back, %v", got.GetUsername(), len(got.GetPayload().GetBody()), err)
	}
}

func serverStreaming(t *testing.T, client testgrpc.TestServiceClient) {
	req := &testgrpc.StreamingOutputCallRequest{}
	for i := range 100 {
		req.ResponseParameters = append(req.ResponseParameters, &testgrpc.ResponseParameters{Size: int32(i * 1000)})
	}
	s, err := client.StreamingOutputCall(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		got, err := s.Recv()
		if err != nil || len(got.GetPayload().GetBody()) != i*1000 {
			t.Fatalf("message %d: %d bytes, %v", i, len(got.GetPayload().GetBody()), err)
		}
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("after the last message: %v", err)
	}
}

func clientStreaming(t *testing.T, client testgrpc.TestServiceClient) {
	s, err := client.StreamingInputCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for i := range 100 {
		want += i * 1000
		if err := s.Send(&testgrpc.StreamingInputCallRequest{Payload: payload(i * 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.CloseAndRecv()
	if err != nil || got.GetAggregatedPayloadSize() != int32(want) {
		t.Fatalf("%d bytes, %v; want %d", got.GetAggregatedPayloadSize(), err, want)
	}
}

func pingPong(t *testing.T, client testgrpc.TestServiceClient) {
	s, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if err := s.Send(&testgrpc.StreamingOutputCallRequest{Payload: payload(i * 500)}); err != nil {
			t.Fatal(err)
		}
		got, err := s.Recv()
		if err != nil || len(got.GetPayload().GetBody()) != i*500 {
			t.Fatalf("message %d: %d bytes, %v", i, len(got.GetPayload().GetBody()), err)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: %v", err)
	}
}

func statusAndMessage(t *testing.T, client testgrpc.TestServiceClient) {
	const message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
	_, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{ResponseStatus: &testgrpc.EchoStatus{Code: 9, Message: message}})
	if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != message {
		t.Errorf("UnaryCall: %v", err)
	}
	if _, err := client.UnimplementedCall(t.Context(), &testgrpc.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("UnimplementedCall: %v", err)
	}
}

func custom(t *testing.T, client testgrpc.TestServiceClient) {
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-one", "1", "x-one", "2", "weft-source", "spiffe://evil/ns/a/sa/b", "x-data-bin", "\x01\x00")
	var header, trailer metadata.MD
	if _, err := client.UnaryCall(ctx, &testgrpc.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	if got := header.Get("echo-x-one"); len(got) != 2 || got[0] != "1" || got[1] != "2" {
		t.Errorf("x-one arrived as %q", got)
	}
	if id := header.Get("echo-x-request-id"); len(id) != 1 || len(id[0]) != 32 {
		t.Errorf("x-request-id arrived as %q", id)
	}
	for _, source := range header.Get("echo-weft-source") {
		if source != "spiffe://weft.local/ns/default/sa/web" {
			t.Errorf("weft-source arrived as %q", source)
		}
	}
	if got := trailer.Get("x-trailer"); len(got) != 1 || got[0] != "bye" || trailer.Get("x-bin")[0] != "\x00\xff" {
		t.Errorf("trailers %v", trailer)
	}
}

func earlyEnd(t *testing.T, client testgrpc.TestServiceClient) {
	s, err := client.FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&testgrpc.StreamingOutputCallRequest{ResponseStatus: &testgrpc.EchoStatus{Code: 10, Message: "enough"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Aborted {
		t.Fatalf("Recv: %v, want Aborted", err)
	}
}

func deadline(t *testing.T, client testgrpc.TestServiceClient) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := client.EmptyCall(ctx, &testgrpc.Empty{}); status.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("EmptyCall: %v, want DeadlineExceeded", err)
	}
}

func manyAtOnce(t *testing.T, client testgrpc.TestServiceClient) {
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 20 {
				size := (i*20 + j) * 97 % 50_000
				got, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{Payload: payload(size), ResponseSize: int32(size + 1)})
				if err != nil || len(got.GetPayload().GetBody()) != size+1 || got.GetUsername() != fmt.Sprint(size) {
					t.Errorf("call %d/%d: %v", i, j, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestL2_GRPCBalancesRequestsOfOneConnection(t *testing.T) {
	var addrs []string
	for _, name := range []string{"a", "b", "c"} {
		_, addr := startApp(t, name)
		addrs = append(addrs, addr)
	}
	m := newMesh(t, addrs)
	client := dialGRPC(t, m.addr)
	got := map[string]int{}
	for range 300 {
		r, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{})
		if err != nil {
			t.Fatal(err)
		}
		got[string(r.GetPayload().GetBody())]++
	}
	for _, name := range []string{"a", "b", "c"} {
		if got[name] == 0 {
			t.Errorf("%s got nothing: %v", name, got)
		}
	}
	handshakes := 0
	for _, r := range m.out.wait(300) {
		handshakes += r.Handshakes
		if r.Protocol != flow.GRPC || r.GRPCStatus != 0 || r.Status != 200 || r.Reason != flow.None || r.Tries != 1 {
			t.Fatalf("record %+v", r)
		}
	}
	if handshakes != 3 {
		t.Errorf("E4: %d connections for 300 requests to 3 endpoints", handshakes)
	}
}

func TestCancelReachesTheApp(t *testing.T) {
	both(t, func(t *testing.T, options ...meshOption) {
		a, addr := startApp(t, "one")
		m := newMesh(t, []string{addr}, options...)
		client := dialGRPC(t, m.addr)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-a.started
			cancel()
		}()
		if _, err := client.EmptyCall(ctx, &testgrpc.Empty{}); status.Code(err) != codes.Canceled {
			t.Fatalf("EmptyCall: %v", err)
		}
		if err := <-a.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the app saw %v", err)
		}
		if r := m.out.wait(1)[0]; r.Reason != flow.ClientGone {
			t.Errorf("reason %q", r.Reason)
		}
	})
}

func TestID7_GRPCDenied(t *testing.T) {
	_, addr := startApp(t, "one")
	m := newMesh(t, []string{addr}, withMTLS)
	m.allow(match.HTTP{Path: match.Exact("/grpc.testing.TestService/FullDuplexCall")})
	client := dialGRPC(t, m.addr)
	var trailer metadata.MD
	_, err := client.UnaryCall(t.Context(), &testgrpc.SimpleRequest{}, grpc.Trailer(&trailer))
	if status.Code(err) != codes.PermissionDenied {
		t.Fatalf("UnaryCall: %v, want PermissionDenied", err)
	}
	if got := trailer.Get("weft-error"); len(got) != 1 || !strings.HasPrefix(got[0], "hop=inbound, reason=denied, id=") {
		t.Errorf("weft-error %q", got)
	}
	if r := m.in.wait(1)[0]; r.Reason != flow.Denied || r.GRPCStatus != int(codes.PermissionDenied) || r.Peer.String() != "spiffe://weft.local/ns/default/sa/web" {
		t.Errorf("record %+v", r)
	}
	pingPong(t, client)
}

func TestAccessChangeEndsRunningStreams(t *testing.T) {
	_, addr := startApp(t, "one")
	m := newMesh(t, []string{addr}, withMTLS)
	s, err := dialGRPC(t, m.addr).FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&testgrpc.StreamingOutputCallRequest{Payload: payload(1)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	m.access.Store(&table.Table{Access: &table.Access{}})
	if _, err := s.Recv(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("Recv: %v, want PermissionDenied", err)
	}
}

func TestRouteTimeout(t *testing.T) {
	a, addr := startApp(t, "one")
	m := newMesh(t, []string{addr}, withRule(table.Rule{Timeout: 20 * time.Millisecond}))
	var trailer metadata.MD
	_, err := dialGRPC(t, m.addr).EmptyCall(t.Context(), &testgrpc.Empty{}, grpc.Trailer(&trailer))
	if status.Code(err) != codes.DeadlineExceeded || len(trailer.Get("weft-error")) != 1 {
		t.Errorf("EmptyCall: %v, trailers %v", err, trailer)
	}
	if err := <-a.ended; err == nil {
		t.Error("the app was not told")
	}
	if r := m.out.wait(1)[0]; r.Reason != flow.Timeout || r.GRPCStatus != int(codes.DeadlineExceeded) {
		t.Errorf("record %+v", r)
	}
}

func TestSlowReaderHoldsTheSender(t *testing.T) {
	_, addr := startApp(t, "one")
	m := newMesh(t, []string{addr}, withLimits(h2.Limits{StreamWindow: 64 << 10}))
	client := dialGRPC(t, m.addr)
	req := &testgrpc.StreamingOutputCallRequest{}
	for range 400 {
		req.ResponseParameters = append(req.ResponseParameters, &testgrpc.ResponseParameters{Size: 100_000})
	}
	s, err := client.StreamingOutputCall(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	// While this stream is not read, others are served.
	for range 50 {
		unary(t, client)
	}
	for i := range 400 {
		if got, err := s.Recv(); err != nil || len(got.GetPayload().GetBody()) != 100_000 {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}
