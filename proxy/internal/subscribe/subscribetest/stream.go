package subscribetest

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
)

// Stream is one open stream, in the hands of one test goroutine.
type Stream struct {
	// Open is what the client began with.
	Open *configpb.Open

	tb       testing.TB
	server   configpb.ConfigService_StreamServer
	requests chan *configpb.StreamRequest
	end      chan error
	nonce    uint64
}

func (s *Stream) receive() {
	defer close(s.requests)
	for {
		r, err := s.server.Recv()
		if err != nil {
			return
		}
		s.requests <- r
	}
}

// Send sends an update under the next nonce and returns without waiting for the answer.
func (s *Stream) Send(u *configpb.Update) {
	s.tb.Helper()
	s.nonce++
	u.Nonce = s.nonce
	if err := s.server.Send(&configpb.StreamResponse{Response: &configpb.StreamResponse_Update{Update: u}}); err != nil {
		s.tb.Fatalf("send update: %v", err)
	}
}

// Update sends an update and returns its ack, which must be the next thing that the client sends.
func (s *Stream) Update(u *configpb.Update) *configpb.Ack {
	s.tb.Helper()
	s.Send(u)
	return s.Ack()
}

// Ack returns the next request, which must answer the oldest update that is not answered.
func (s *Stream) Ack() *configpb.Ack {
	s.tb.Helper()
	r := s.Next()
	if r.GetAck() == nil {
		s.tb.Fatalf("want an ack, got %v", r)
	}
	return r.GetAck()
}

// Next returns the next request.
func (s *Stream) Next() *configpb.StreamRequest {
	s.tb.Helper()
	r, ok := <-s.requests
	if !ok {
		s.tb.Fatal("the client ended the stream")
	}
	return r
}

// Ended waits until the client has ended the stream and fails the test if it sends anything before.
func (s *Stream) Ended() {
	s.tb.Helper()
	for r := range s.requests {
		s.tb.Fatalf("want the end of the stream, got %v", r)
	}
}

// GoAway asks the client to move.
func (s *Stream) GoAway(within time.Duration) {
	s.tb.Helper()
	away := &configpb.GoAway{Within: durationpb.New(within)}
	if err := s.server.Send(&configpb.StreamResponse{Response: &configpb.StreamResponse_GoAway{GoAway: away}}); err != nil {
		s.tb.Fatalf("send go-away: %v", err)
	}
}

// End ends the stream with an error, or without one.
func (s *Stream) End(err error) { s.end <- err }
