package rpc_test

import (
	"context"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

func memoryDialer(r *rig) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) { return r.memory.Dial(ctx) }
}

func TestDrainEndsStreamsWithAFarewell(t *testing.T) {
	r := start(t, &methods{watch: func(s grpc.ServerStreamingServer[identitypb.WatchBundlesResponse]) error {
		if err := s.Send(&identitypb.WatchBundlesResponse{}); err != nil {
			return err
		}
		<-s.Context().Done()
		if rpc.Draining(s.Context()) {
			if err := s.Send(&identitypb.WatchBundlesResponse{Bundle: &identitypb.Bundle{TrustDomain: "farewell"}}); err != nil {
				return err
			}
		}
		return s.Context().Err()
	}}, false, allow(rpc.Anyone()))
	stream, err := r.client(workload("web")).WatchBundles(t.Context(), &identitypb.WatchBundlesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	r.stop()
	m, err := stream.Recv()
	if err != nil || m.GetBundle().GetTrustDomain() != "farewell" {
		t.Errorf("last message = %v, %v; want the farewell", m, err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("end = %v, want %v", err, codes.Unavailable)
	}
}

func TestDrainWakesReceivers(t *testing.T) {
	r := start(t, &methods{issue: func(s grpc.BidiStreamingServer[identitypb.IssueX509SVIDRequest, identitypb.IssueX509SVIDResponse]) error {
		for {
			if _, err := s.Recv(); err != nil {
				return err
			}
			if err := s.Send(&identitypb.IssueX509SVIDResponse{}); err != nil {
				return err
			}
		}
	}}, false, allow(rpc.Anyone()))
	stream, err := r.client(workload("web")).IssueX509SVID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := stream.Send(&identitypb.IssueX509SVIDRequest{}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("end = %v, want %v", err, codes.Unavailable)
	}
}

func TestDrainLetsUnaryCallsFinish(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, &methods{bundle: func(ctx context.Context) error {
		close(entered)
		<-release
		return ctx.Err()
	}}, false, allow(rpc.Anyone()))
	c := r.client(workload("web"))
	done := make(chan error, 1)
	go func() { done <- call(t, c) }()
	<-entered
	r.stop()
	close(release)
	if err := <-done; err != nil {
		t.Errorf("call that ran when the drain began = %v, want nil", err)
	}
}

func TestStreamRuleRefuses(t *testing.T) {
	r := start(t, &methods{}, false, allow(rpc.Services("distributor")))
	stream, err := r.client(workload("web")).WatchBundles(t.Context(), &identitypb.WatchBundlesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !fault.Is(rpc.FaultOf(err), fault.Denied) {
		t.Errorf("Recv = %v, want denied", err)
	}
}

func TestCallsWaitForTheOwnSVID(t *testing.T) {
	r := start(t, &methods{bundle: func(context.Context) error { return nil }}, false, allow(rpc.Anyone()))
	own := spiffe.NewSource(nil)
	c := r.dial(rpc.DialConfig{Service: "policy", Trust: own})
	done := make(chan error, 1)
	go func() { done <- call(t, c) }()
	own.Set(r.ca.SVID(t, workload("web")))
	if err := <-done; err != nil {
		t.Errorf("call that began before the SVID came = %v, want nil", err)
	}
}

func TestReplicasThatDoNotServeAreLeftOut(t *testing.T) {
	never := &methods{bundle: func(context.Context) error { return status.Error(codes.Internal, "asked a replica that is not ready") }}
	r := start(t, never, false, allow(rpc.Anyone()))
	r.server.SetServing(false)
	if err := call(t, r.client(workload("web"))); status.Code(err) != codes.Unavailable {
		t.Errorf("balanced call = %v, want %v", err, codes.Unavailable)
	}
	direct := r.dial(rpc.DialConfig{Service: "policy", Trust: r.ca.Source(t, workload("web")), Direct: true})
	if err := call(t, direct); status.Code(err) != codes.Internal {
		t.Errorf("direct call = %v, want the replica's own answer", err)
	}
}

// A connection does not outlive the SVID that made it: calls come over connections made with the renewed one, and a stream of the
// old connection is ended.
func TestConnectionsAge(t *testing.T) {
	ended := make(chan struct{})
	r := startAging(t, &methods{
		bundle: func(context.Context) error { return nil },
		watch: func(s grpc.ServerStreamingServer[identitypb.WatchBundlesResponse]) error {
			defer close(ended)
			<-s.Context().Done()
			return nil
		},
	}, false, 400*time.Millisecond, func(reg *rpc.Registrar) {
		reg.AllowService(&identitypb.IdentityService_ServiceDesc, rpc.Anyone())
	})
	client := r.client(workload("web"))
	stream, err := client.WatchBundles(t.Context(), &identitypb.WatchBundlesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	<-ended
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream goes on although its server has ended it")
	}
	if _, err := client.GetBundle(t.Context(), &identitypb.GetBundleRequest{}); err != nil {
		t.Errorf("a call after the connection was too old: %v", err)
	}
}
