package fanouttest

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// Server is a distributor's gRPC server in memory, with mTLS.
type Server struct {
	t      testing.TB
	ca     *testca.CA
	memory rpc.Memory
	stop   func()
}

// Serve starts a server that has what register adds. It stops with the test.
func Serve(t testing.TB, ca *testca.CA, register func(*rpc.Registrar)) *Server {
	t.Helper()
	trust := ca.Source(t, spiffe.Account{Namespace: spiffe.SystemNamespace, Name: "distributor"})
	server, err := rpc.NewServer(rpc.ServerConfig{Log: zaptest.NewLogger(t), Trust: trust, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	register(server.Registrar())
	server.SetServing(true)
	s := &Server{t: t, ca: ca, memory: rpc.NewMemory()}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, func() time.Time { return time.Now().Add(time.Minute) }, s.memory) }()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	s.stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(s.stop)
	return s
}

// Stop drains the server and waits for its end.
func (s *Server) Stop() { s.stop() }

// Conn connects as an account.
func (s *Server) Conn(as spiffe.Account) *grpc.ClientConn {
	s.t.Helper()
	conn, err := rpc.Dial(rpc.DialConfig{
		Service: "distributor", Trust: s.ca.Source(s.t, as), TrustDomain: s.ca.TrustDomain(), InMemory: s.memory.Dial, Direct: true,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}
