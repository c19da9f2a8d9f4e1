package policy

import (
	"context"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
)

// CreateMeshConfig adds the mesh configuration.
func (s *Service) CreateMeshConfig(ctx context.Context, req *policypb.CreateMeshConfigRequest) (*policypb.CreateMeshConfigResponse, error) {
	a, err := s.meshConfigs.Create(ctx, req.GetMeshConfig(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &policypb.CreateMeshConfigResponse{MeshConfig: a.Object, Revision: a.Revision, Warnings: a.Warnings}, nil
}

// UpdateMeshConfig replaces the mesh configuration.
func (s *Service) UpdateMeshConfig(ctx context.Context, req *policypb.UpdateMeshConfigRequest) (*policypb.UpdateMeshConfigResponse, error) {
	a, err := s.meshConfigs.Update(ctx, req.GetMeshConfig(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &policypb.UpdateMeshConfigResponse{MeshConfig: a.Object, Revision: a.Revision, Warnings: a.Warnings}, nil
}

// GetMeshConfig reads the mesh configuration.
func (s *Service) GetMeshConfig(ctx context.Context, req *policypb.GetMeshConfigRequest) (*policypb.GetMeshConfigResponse, error) {
	object, err := s.meshConfigs.Get(ctx, req)
	if err != nil {
		return nil, err
	}
	return &policypb.GetMeshConfigResponse{MeshConfig: object}, nil
}

// ListMeshConfigs reads a page of them.
func (s *Service) ListMeshConfigs(ctx context.Context, req *policypb.ListMeshConfigsRequest) (*policypb.ListMeshConfigsResponse, error) {
	objects, next, err := s.meshConfigs.List(ctx, req)
	if err != nil {
		return nil, err
	}
	return &policypb.ListMeshConfigsResponse{MeshConfigs: objects, NextPageToken: next}, nil
}

// DeleteMeshConfig removes the mesh configuration.
func (s *Service) DeleteMeshConfig(ctx context.Context, req *policypb.DeleteMeshConfigRequest) (*policypb.DeleteMeshConfigResponse, error) {
	revision, err := s.meshConfigs.Delete(ctx, req)
	if err != nil {
		return nil, err
	}
	return &policypb.DeleteMeshConfigResponse{Revision: revision}, nil
}
