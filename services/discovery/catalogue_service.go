package discovery

import (
	"context"
	"net/netip"

	"go.uber.org/zap"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
)

// CreateService adds a service.
func (s *server) CreateService(ctx context.Context, req *discoverypb.CreateServiceRequest) (*discoverypb.CreateServiceResponse, error) {
	a, err := s.services.Create(ctx, req.GetService(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &discoverypb.CreateServiceResponse{Service: a.Object, Revision: a.Revision, Warnings: a.Warnings}, nil
}

// UpdateService replaces a service.
func (s *server) UpdateService(ctx context.Context, req *discoverypb.UpdateServiceRequest) (*discoverypb.UpdateServiceResponse, error) {
	a, err := s.services.Update(ctx, req.GetService(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &discoverypb.UpdateServiceResponse{Service: a.Object, Revision: a.Revision, Warnings: a.Warnings}, nil
}

// GetService reads a service.
func (s *server) GetService(ctx context.Context, req *discoverypb.GetServiceRequest) (*discoverypb.GetServiceResponse, error) {
	object, err := s.services.Get(ctx, req)
	if err != nil {
		return nil, err
	}
	return &discoverypb.GetServiceResponse{Service: object}, nil
}

// ListServices reads a page of them.
func (s *server) ListServices(ctx context.Context, req *discoverypb.ListServicesRequest) (*discoverypb.ListServicesResponse, error) {
	objects, next, err := s.services.List(ctx, req)
	if err != nil {
		return nil, err
	}
	return &discoverypb.ListServicesResponse{Services: objects, NextPageToken: next}, nil
}

// DeleteService removes a service.
func (s *server) DeleteService(ctx context.Context, req *discoverypb.DeleteServiceRequest) (*discoverypb.DeleteServiceResponse, error) {
	revision, err := s.services.Delete(ctx, req)
	if err != nil {
		return nil, err
	}
	return &discoverypb.DeleteServiceResponse{Revision: revision}, nil
}

// prepareService keeps a service's virtual address, or gives it one.
func (s *server) prepareService(ctx context.Context, next, current *model.Service, dry bool) (err error) {
	next.VirtualAddress = netip.Addr{}
	if current != nil {
		next.VirtualAddress = current.VirtualAddress
	}
	if !next.VirtualAddress.IsValid() && !dry {
		next.VirtualAddress, err = s.addresses.claim(ctx, next.Key)
	}
	return err
}

// removingService gives the address back, unless a new service of that name claims it meanwhile.
func (s *server) removingService(ctx context.Context, object *model.Service) (func(context.Context), error) {
	give, err := s.addresses.lease(ctx, object.Key, object.VirtualAddress)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) {
		if err := give(ctx); err != nil {
			s.deps.Log.Warn("virtual address stays with a removed service", zap.Stringer("service", object.Key), zap.Error(err))
		}
	}, nil
}

func warnService(_ context.Context, object *model.Service) ([]model.Violation, error) {
	if len(object.Accounts) > 0 {
		return nil, nil
	}
	return []model.Violation{{Path: "spec.accounts", Problem: "is empty, so no workload may be an endpoint of this service"}}, nil
}
