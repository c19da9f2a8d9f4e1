package walktest

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// never is a program of HTTP that begins to answer and does not end.
func never(t *testing.T) net.Addr {
	return program(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
		io.Copy(io.Discard, c)
	})
}

// TestWhatADrainCutsHasItsReason: a deadline that has come ends requests, streams and connections that are under way, on
// either side, and the record of the side that cuts says draining. Both sides show them while they are under way.
func TestWhatADrainCutsHasItsReason(t *testing.T) {
	over := func(t *testing.T) context.Context {
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		cancel()
		return ctx
	}
	http1 := func(t *testing.T, addr string) {
		c := dial(t, addr)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: web\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(resp.Body, make([]byte, 5))
	}
	tcp := func(t *testing.T, addr string) {
		line, err := bufio.NewReader(dial(t, addr)).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "220") {
			t.Fatalf("greeting %q, %v", line, err)
		}
	}
	var stream testgrpc.TestService_FullDuplexCallClient
	call := func(t *testing.T, addr string) {
		conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if stream, err = testgrpc.NewTestServiceClient(conn).FullDuplexCall(t.Context()); err == nil {
			if err = stream.Send(&testgrpc.StreamingOutputCallRequest{}); err == nil {
				_, err = stream.Recv()
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name     string
		protocol table.Protocol
		app      func(t *testing.T) net.Addr
		begin    func(t *testing.T, addr string)
		stage    string
	}{
		{"http1", table.HTTP, never, http1, flow.Waiting},
		{"tcp", table.TCP, func(t *testing.T) net.Addr { return program(t, greet) }, tcp, flow.Streaming},
		{"grpc", table.GRPC, func(t *testing.T) net.Addr { return grpcServer(t, "a") }, call, flow.Answering},
	} {
		for _, side := range []string{"inbound", "outbound"} {
			t.Run(tc.name+" "+side, func(t *testing.T) {
				m := New(t)
				m.Service("web", tc.protocol)
				w := m.Workload("web", "web-1", tc.app(t), m.Allow("shop"))
				c := m.Client("shop")
				t.Cleanup(func() { _ = w.Inbound.Drain(over(t)) }) // the program of http1 never ends by itself
				tc.begin(t, c.Upstream("web"))
				for _, flows := range [][]flow.Live{w.Inbound.Flows(), c.Outbound.Flows()} {
					if len(flows) != 1 || flows[0].Stage != tc.stage || flows[0].Endpoint == "" || flows[0].Client == "" || flows[0].Since.IsZero() {
						t.Errorf("under way: want one that is %s, got %+v", tc.stage, flows)
					}
				}
				drain, records := w.Inbound.Drain, w.Records
				if side == "outbound" {
					drain, records = c.Outbound.Drain, c.Records
				}
				if err := drain(over(t)); err == nil || !strings.Contains(err.Error(), "cut") {
					t.Errorf("Drain: %v, want an error that says what was cut", err)
				}
				if rec := records.Wait(1)[0]; rec.Reason != flow.Draining {
					t.Errorf("record: reason %s (%v), want draining", rec.Reason, rec.Err)
				}
				if tc.name == "grpc" {
					if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "draining") {
						t.Errorf("the client was told %v", err)
					}
				}
			})
		}
	}
}

// TestDrainTellsHTTP1ToClose: the response that is under way says that it is the last, an idle connection has a second for one
// more request, and nothing is cut.
func TestDrainTellsHTTP1ToClose(t *testing.T) {
	m := New(t)
	m.Service("web", table.HTTP)
	answer := make(chan struct{})
	app := program(t, func(c net.Conn) {
		for br := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			if req.URL.Path == "/slow" {
				<-answer
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	m.Workload("web", "web-1", app, m.Allow("shop"))
	c := m.Client("shop")
	addr := c.Upstream("web")
	busy, idle := dial(t, addr), dial(t, addr)
	ask := func(c net.Conn, path string) { io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: web\r\n\r\n") }
	response := func(c net.Conn) *http.Response {
		t.Helper()
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	ask(idle, "/")
	response(idle)
	ask(busy, "/slow")
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { done <- c.Outbound.Drain(ctx) }()
	refused(t, addr)
	ask(idle, "/")
	if resp := response(idle); !resp.Close || resp.StatusCode != http.StatusOK {
		t.Errorf("a request on an idle connection: %s, close %v", resp.Status, resp.Close)
	}
	close(answer)
	if resp := response(busy); !resp.Close || resp.StatusCode != http.StatusOK {
		t.Errorf("the request that was under way: %s, close %v", resp.Status, resp.Close)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// refused waits until nobody accepts at an address any more.
func refused(t *testing.T, addr string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		c.Close()
		if t.Context().Err() != nil {
			t.Fatal("the listener stayed open")
		}
	}
}

// TestDrainTellsHTTP2InTwoSteps: the first GOAWAY takes no stream away, so that one that is on its way is served; the second,
// after the answer to a PING, names the last one.
func TestDrainTellsHTTP2InTwoSteps(t *testing.T) {
	m := New(t)
	m.Service("web", table.GRPC)
	m.Workload("web", "web-1", grpcServer(t, "a"), m.Allow("shop"))
	client := m.Client("shop")
	c := dial(t, client.Upstream("web"))
	io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.WriteSettings()
	next := func(kind http2.FrameType) http2.Frame {
		t.Helper()
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				t.Fatalf("waiting for %s: %v", kind, err)
			}
			if f.Header().Type == kind {
				return f
			}
		}
	}
	next(http2.FrameSettings)
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { done <- client.Outbound.Drain(ctx) }()
	if f := next(http2.FrameGoAway).(*http2.GoAwayFrame); f.LastStreamID != 1<<31-1 || f.ErrCode != http2.ErrCodeNo {
		t.Errorf("first GOAWAY: last stream %d, %s", f.LastStreamID, f.ErrCode)
	}
	ping := next(http2.FramePing).(*http2.PingFrame).Data
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: requestBlock(), EndHeaders: true, EndStream: true})
	fr.WritePing(true, ping)
	var last *http2.GoAwayFrame
	answered := false
	for last == nil || !answered {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			last = f
		case *http2.HeadersFrame:
			answered = answered || f.StreamEnded()
		}
	}
	if last.LastStreamID != 1 || last.ErrCode != http2.ErrCodeNo {
		t.Errorf("second GOAWAY: last stream %d, %s", last.LastStreamID, last.ErrCode)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := fr.ReadFrame(); err == nil {
		t.Error("the connection is still open")
	}
}

// requestBlock is the head of a call of gRPC.
func requestBlock() []byte {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":authority", "web"}, {":path", "/grpc.testing.TestService/UnaryCall"},
		{"content-type", "application/grpc"}, {"te", "trailers"},
	} {
		enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return block.Bytes()
}
