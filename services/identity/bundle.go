package identity

import (
	"context"

	"google.golang.org/grpc"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// GetBundle answers from memory: the bundle is public, and anybody may ask.
func (s *Service) GetBundle(context.Context, *identitypb.GetBundleRequest) (*identitypb.GetBundleResponse, error) {
	set, err := s.anchors()
	if err != nil {
		return nil, err
	}
	return &identitypb.GetBundleResponse{Bundle: s.bundleOf(set)}, nil
}

// WatchBundles sends the bundle and every later one. A watcher that is slow skips bundles and never makes others wait.
func (s *Service) WatchBundles(_ *identitypb.WatchBundlesRequest, stream grpc.ServerStreamingServer[identitypb.WatchBundlesResponse]) error {
	for {
		set, changed := s.trust.current()
		if set != nil {
			if err := stream.Send(&identitypb.WatchBundlesResponse{Bundle: s.bundleOf(set)}); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (s *Service) anchors() (*anchorSet, error) {
	set, _ := s.trust.current()
	if set == nil {
		return nil, fault.New(fault.Unavailable, "the bundle has not been read from the store yet")
	}
	return set, nil
}

func (s *Service) bundleOf(set *anchorSet) *identitypb.Bundle {
	b := &identitypb.Bundle{TrustDomain: s.trust.td.Name(), Revision: modelpb.RevisionToProto(set.revision)}
	for _, a := range set.roots {
		b.X509Authorities = append(b.X509Authorities, a.cert.Raw)
	}
	return b
}
