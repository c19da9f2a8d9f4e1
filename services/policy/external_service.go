package policy

import (
	"context"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
)

// CreateExternalService adds an external service.
func (s *Service) CreateExternalService(ctx context.Context, req *policypb.CreateExternalServiceRequest) (*policypb.CreateExternalServiceResponse, error) {
	a, err := s.externalServices.Create(ctx, req.GetExternalService(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &policypb.CreateExternalServiceResponse{ExternalService: a.Object, Revision: a.Revision, Warnings: a.Warnings}, nil
}

// UpdateExternalService replaces an external service.
func (s *Service) UpdateExternalService(ctx context.Context, req *policypb.UpdateExternalServiceRequest) (*policypb.UpdateExternalServiceResponse, error) {
	a, err := s.externalServices.Update(ctx, req.GetExternalService(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &policypb.UpdateExternalServiceResponse{ExternalService: a.Object, Revision: a.Revision, Warnings: a.Warnings}, nil
}

// GetExternalService reads an external service.
func (s *Service) GetExternalService(ctx context.Context, req *policypb.GetExternalServiceRequest) (*policypb.GetExternalServiceResponse, error) {
	object, err := s.externalServices.Get(ctx, req)
	if err != nil {
		return nil, err
	}
	return &policypb.GetExternalServiceResponse{ExternalService: object}, nil
}

// ListExternalServices reads a page of them.
func (s *Service) ListExternalServices(ctx context.Context, req *policypb.ListExternalServicesRequest) (*policypb.ListExternalServicesResponse, error) {
	objects, next, err := s.externalServices.List(ctx, req)
	if err != nil {
		return nil, err
	}
	return &policypb.ListExternalServicesResponse{ExternalServices: objects, NextPageToken: next}, nil
}

// DeleteExternalService removes an external service.
func (s *Service) DeleteExternalService(ctx context.Context, req *policypb.DeleteExternalServiceRequest) (*policypb.DeleteExternalServiceResponse, error) {
	revision, err := s.externalServices.Delete(ctx, req)
	if err != nil {
		return nil, err
	}
	return &policypb.DeleteExternalServiceResponse{Revision: revision}, nil
}
