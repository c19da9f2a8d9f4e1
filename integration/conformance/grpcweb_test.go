package conformance

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"

	"connectrpc.com/connect"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

const (
	echoProcedure  = "/grpc.testing.TestService/UnaryCall"
	countProcedure = "/grpc.testing.TestService/StreamingOutputCall"
)

// callEcho sends the payload back, but ends with the code that the request wants.
func callEcho(_ context.Context, r *connect.Request[testgrpc.SimpleRequest]) (*connect.Response[testgrpc.SimpleResponse], error) {
	if want := r.Msg.GetResponseStatus(); want != nil {
		err := connect.NewError(connect.Code(want.GetCode()), errors.New(want.GetMessage()))
		err.Meta().Set("X-Detail", "in the trailers")
		return nil, err
	}
	resp := connect.NewResponse(&testgrpc.SimpleResponse{Payload: r.Msg.GetPayload()})
	resp.Header().Set("X-Said", r.Header().Get("X-Said"))
	resp.Trailer().Set("X-Sum-Bin", connect.EncodeBinaryHeader([]byte{0, 1, 254, 255}))
	return resp, nil
}

// callCount sends as many messages as the request has parameters, of the sizes in them.
func callCount(_ context.Context, r *connect.Request[testgrpc.StreamingOutputCallRequest], s *connect.ServerStream[testgrpc.StreamingOutputCallResponse]) error {
	for _, p := range r.Msg.GetResponseParameters() {
		if err := s.Send(&testgrpc.StreamingOutputCallResponse{Payload: &testgrpc.Payload{Body: make([]byte, p.GetSize())}}); err != nil {
			return err
		}
	}
	return connect.NewError(connect.CodeDataLoss, errors.New("enough, said the server – ünïcode"))
}

// TestR8_GRPCWeb: gRPC-Web passes as it is, by both versions of HTTP; so does what its clients can speak besides. Where the mesh
// itself refuses a call, they understand why.
func TestR8_GRPCWeb(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle(echoProcedure, connect.NewUnaryHandler(echoProcedure, callEcho))
	mux.Handle(countProcedure, connect.NewServerStreamHandler(countProcedure, callCount))
	modes(t, func(w *world) {
		w.app("web", "", w.serve(mux.ServeHTTP, true, true))
		w.apply("Service", "nobody", "accounts: [nobody]")
		client := w.client("web", "nobody")
		for _, c := range []struct {
			name    string
			version int
			options []connect.ClientOption
		}{
			{"gRPC-Web by HTTP/1", 1, []connect.ClientOption{connect.WithGRPCWeb()}},
			{"gRPC-Web by HTTP/2", 2, []connect.ClientOption{connect.WithGRPCWeb()}},
			{"gRPC by HTTP/2", 2, []connect.ClientOption{connect.WithGRPC()}},
			{"Connect by HTTP/1", 1, nil},
			{"Connect by HTTP/2", 2, nil},
		} {
			w.Run(c.name, func(t *testing.T) {
				h := newClient(t, c.version)
				url := "http://" + client.upstream("web")
				unary(t, connect.NewClient[testgrpc.SimpleRequest, testgrpc.SimpleResponse](h, url+echoProcedure, c.options...))
				counted(t, connect.NewClient[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse](h, url+countProcedure, c.options...))
				lost := connect.NewClient[testgrpc.SimpleRequest, testgrpc.SimpleResponse](h, "http://"+client.upstream("nobody")+echoProcedure, c.options...)
				if _, err := lost.CallUnary(t.Context(), connect.NewRequest(&testgrpc.SimpleRequest{})); connect.CodeOf(err) != connect.CodeUnavailable {
					t.Errorf("without an endpoint: %v", err)
				}
			})
		}
	})
}

func unary(t *testing.T, c *connect.Client[testgrpc.SimpleRequest, testgrpc.SimpleResponse]) {
	for _, size := range []int{0, 1, 16 << 10, 1 << 20} {
		body := bytes.Repeat([]byte{7}, size)
		req := connect.NewRequest(&testgrpc.SimpleRequest{Payload: &testgrpc.Payload{Body: body}})
		req.Header().Set("X-Said", "hello")
		resp, err := c.CallUnary(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := connect.DecodeBinaryHeader(resp.Trailer().Get("X-Sum-Bin"))
		if !bytes.Equal(resp.Msg.GetPayload().GetBody(), body) || resp.Header().Get("X-Said") != "hello" || string(sum) != "\x00\x01\xfe\xff" {
			t.Errorf("got %d bytes, %v, trailers %v, %v", len(resp.Msg.GetPayload().GetBody()), resp.Header(), resp.Trailer(), err)
		}
	}
	status := &testgrpc.EchoStatus{Code: int32(connect.CodeFailedPrecondition), Message: "not now: 100 % ü"}
	_, err := c.CallUnary(t.Context(), connect.NewRequest(&testgrpc.SimpleRequest{ResponseStatus: status}))
	if ce, ok := errors.AsType[*connect.Error](err); !ok || ce.Code() != connect.CodeFailedPrecondition || ce.Message() != status.Message || ce.Meta().Get("X-Detail") != "in the trailers" {
		t.Errorf("got %v", err)
	}
}

func counted(t *testing.T, c *connect.Client[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse]) {
	sizes := []int32{0, 1, 70_000, 3, 300_000}
	req := &testgrpc.StreamingOutputCallRequest{}
	for _, size := range sizes {
		req.ResponseParameters = append(req.ResponseParameters, &testgrpc.ResponseParameters{Size: size})
	}
	s, err := c.CallServerStream(t.Context(), connect.NewRequest(req))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, size := range sizes {
		if !s.Receive() || len(s.Msg().GetPayload().GetBody()) != int(size) {
			t.Fatalf("message %d: %d bytes, want %d: %v", i, len(s.Msg().GetPayload().GetBody()), size, s.Err())
		}
	}
	if s.Receive() || connect.CodeOf(s.Err()) != connect.CodeDataLoss {
		t.Errorf("the end: %v", s.Err())
	}
}
