package policy

import (
	"context"
	"slices"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/state"
)

// CreateRoute adds a route.
func (s *Service) CreateRoute(ctx context.Context, req *policypb.CreateRouteRequest) (*policypb.CreateRouteResponse, error) {
	a, err := s.routes.Create(ctx, req.GetRoute(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &policypb.CreateRouteResponse{Route: a.Object, Revision: a.Revision, Warnings: a.Warnings}, nil
}

// UpdateRoute replaces a route.
func (s *Service) UpdateRoute(ctx context.Context, req *policypb.UpdateRouteRequest) (*policypb.UpdateRouteResponse, error) {
	a, err := s.routes.Update(ctx, req.GetRoute(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &policypb.UpdateRouteResponse{Route: a.Object, Revision: a.Revision, Warnings: a.Warnings}, nil
}

// GetRoute reads a route.
func (s *Service) GetRoute(ctx context.Context, req *policypb.GetRouteRequest) (*policypb.GetRouteResponse, error) {
	object, err := s.routes.Get(ctx, req)
	if err != nil {
		return nil, err
	}
	return &policypb.GetRouteResponse{Route: object}, nil
}

// ListRoutes reads a page of them.
func (s *Service) ListRoutes(ctx context.Context, req *policypb.ListRoutesRequest) (*policypb.ListRoutesResponse, error) {
	objects, next, err := s.routes.List(ctx, req)
	if err != nil {
		return nil, err
	}
	return &policypb.ListRoutesResponse{Routes: objects, NextPageToken: next}, nil
}

// DeleteRoute removes a route.
func (s *Service) DeleteRoute(ctx context.Context, req *policypb.DeleteRouteRequest) (*policypb.DeleteRouteResponse, error) {
	revision, err := s.routes.Delete(ctx, req)
	if err != nil {
		return nil, err
	}
	return &policypb.DeleteRouteResponse{Revision: revision}, nil
}

// warnRoute tells the author about other routes for the same service. When the store cannot list them all, what the mirror
// knows has to do: a broken neighbour is no reason to refuse this route.
func (s *Service) warnRoute(ctx context.Context, r *model.Route) ([]model.Violation, error) {
	all, _, err := s.routes.Collection().All(ctx, r.Namespace)
	if err != nil {
		all = slices.Collect(state.Objects(s.feed, routes().State()))
	}
	return r.Overlaps(all), nil
}
