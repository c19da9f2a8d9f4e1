// Package subscribetest is a distributor for tests: a real gRPC server over an in-memory connection that checks what a client
// of the config stream sends and answers with whatever the test wants, in the test's own rhythm.
package subscribetest

import (
	"context"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
)

// Server is one replica. Each stream that a client opens is handed to the test.
type Server struct {
	configpb.UnimplementedConfigServiceServer

	tb       testing.TB
	listener *bufconn.Listener
	grpc     *grpc.Server
	streams  chan *Stream

	mu   sync.Mutex
	down bool
}

// New starts a replica that stops with the test.
func New(tb testing.TB) *Server {
	s := &Server{tb: tb, listener: bufconn.Listen(1 << 20), grpc: grpc.NewServer(), streams: make(chan *Stream, 16)}
	configpb.RegisterConfigServiceServer(s.grpc, s)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.grpc.Serve(s.listener)
	}()
	tb.Cleanup(func() {
		s.grpc.Stop()
		<-served
	})
	return s
}

// Connect makes a connection to the replica.
func (s *Server) Connect() (*grpc.ClientConn, error) {
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return s.listener.DialContext(ctx) }
	return grpc.NewClient("passthrough:///bufconn", grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// SetDown makes the replica refuse new streams, or take them again.
func (s *Server) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// Stream hands the stream to the test and holds it until the test or the client ends it.
func (s *Server) Stream(st configpb.ConfigService_StreamServer) error {
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		return status.Error(codes.Unavailable, "this replica is down")
	}
	first, err := st.Recv()
	if err != nil {
		return err
	}
	if first.GetOpen() == nil {
		return status.Error(codes.InvalidArgument, "open must come first")
	}
	stream := &Stream{
		Open: first.GetOpen(), tb: s.tb, server: st,
		requests: make(chan *configpb.StreamRequest, 64), end: make(chan error, 1),
	}
	s.streams <- stream
	go stream.receive()
	select {
	case err := <-stream.end:
		return err
	case <-st.Context().Done():
		return st.Context().Err()
	}
}

// Next waits for the next stream of a client.
func (s *Server) Next(ctx context.Context) *Stream {
	s.tb.Helper()
	st := s.Try(ctx)
	if st == nil {
		s.tb.Fatal("no client opened a stream")
	}
	return st
}

// Try is Next, but returns nil when ctx ends first.
func (s *Server) Try(ctx context.Context) *Stream {
	select {
	case st := <-s.streams:
		return st
	case <-ctx.Done():
		return nil
	}
}
