// Package intaketest has sources of the distributor that do what a test says.
package intaketest

import (
	"context"
	"errors"

	"google.golang.org/grpc"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

// ErrLost ends a stream that a test cuts.
var ErrLost = errors.New("connection lost")

// Sources are the three sources. Each Watch that is opened waits in the source's Opened until the test takes it.
type Sources struct {
	Policy    *Source[policypb.WatchResponse]
	Discovery *Source[discoverypb.WatchResponse]
	Identity  *Source[identitypb.WatchBundlesResponse]
}

// New makes sources that nobody watches yet.
func New() *Sources {
	return &Sources{newSource[policypb.WatchResponse](), newSource[discoverypb.WatchResponse](), newSource[identitypb.WatchBundlesResponse]()}
}

// Source is one of them.
type Source[R any] struct {
	// Opened yields every Watch.
	Opened chan *Watch[R]
}

func newSource[R any]() *Source[R] { return &Source[R]{Opened: make(chan *Watch[R])} }

// Watch is one open stream.
type Watch[R any] struct {
	grpc.ClientStream
	// After is where the client wanted to resume.
	After    *typepb.SourceRevision
	ctx      context.Context // the stream's, as in gRPC
	messages chan *R
	lost     chan struct{}
}

// Send hands a message to the client, which has read all earlier ones then.
func (w *Watch[R]) Send(m *R) {
	select {
	case w.messages <- m:
	case <-w.ctx.Done():
	}
}

// Cut ends the stream with ErrLost.
func (w *Watch[R]) Cut() { close(w.lost) }

// Recv implements the client's end.
func (w *Watch[R]) Recv() (*R, error) {
	select {
	case m := <-w.messages:
		return m, nil
	case <-w.lost:
		return nil, ErrLost
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	}
}

func (s *Source[R]) open(ctx context.Context, after *typepb.SourceRevision) (*Watch[R], error) {
	w := &Watch[R]{After: after, ctx: ctx, messages: make(chan *R), lost: make(chan struct{})}
	select {
	case s.Opened <- w:
		return w, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// PolicyClient is the policy service; only Watch may be called.
func (s *Sources) PolicyClient() policypb.PolicyServiceClient { return &policyClient{sources: s} }

// DiscoveryClient is the discovery service; only Watch may be called.
func (s *Sources) DiscoveryClient() discoverypb.DiscoveryServiceClient {
	return &discoveryClient{sources: s}
}

// IdentityClient is the identity service; only WatchBundles may be called.
func (s *Sources) IdentityClient() identitypb.IdentityServiceClient {
	return &identityClient{sources: s}
}

type policyClient struct {
	policypb.PolicyServiceClient
	sources *Sources
}

func (c *policyClient) Watch(ctx context.Context, r *policypb.WatchRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[policypb.WatchResponse], error) {
	return c.sources.Policy.open(ctx, r.GetResumeFrom())
}

type discoveryClient struct {
	discoverypb.DiscoveryServiceClient
	sources *Sources
}

func (c *discoveryClient) Watch(ctx context.Context, r *discoverypb.WatchRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[discoverypb.WatchResponse], error) {
	return c.sources.Discovery.open(ctx, r.GetResumeFrom())
}

type identityClient struct {
	identitypb.IdentityServiceClient
	sources *Sources
}

func (c *identityClient) WatchBundles(ctx context.Context, _ *identitypb.WatchBundlesRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[identitypb.WatchBundlesResponse], error) {
	return c.sources.Identity.open(ctx, nil)
}

// At is a revision of epoch "e".
func At(source typepb.Source, seq uint64) *typepb.SourceRevision {
	return &typepb.SourceRevision{Source: source, Epoch: "e", Seq: seq}
}
