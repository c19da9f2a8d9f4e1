package discovery

import (
	"context"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// ListEndpoints reads the endpoints of a service, from the store itself: what any replica has acknowledged shows.
func (s *server) ListEndpoints(ctx context.Context, req *discoverypb.ListEndpointsRequest) (*discoverypb.ListEndpointsResponse, error) {
	service, err := s.services.Collection().Get(ctx, modelpb.Key(req.GetNamespace(), req.GetService()))
	if err != nil {
		return nil, err
	}
	all, seq, err := s.workloads.Collection().All(ctx, service.Namespace)
	if err != nil {
		return nil, err
	}
	revision, err := s.feed.Stamp(ctx, seq)
	if err != nil {
		return nil, err
	}
	out := &discoverypb.ListEndpointsResponse{Revision: modelpb.RevisionToProto(revision)}
	for _, e := range model.Endpoints(&service, all) {
		out.Endpoints = append(out.Endpoints, modelpb.EndpointToProto(e))
	}
	return out, nil
}
