package policy

import (
	"context"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
)

// CreateAccessPolicy adds an access policy.
func (s *Service) CreateAccessPolicy(ctx context.Context, req *policypb.CreateAccessPolicyRequest) (*policypb.CreateAccessPolicyResponse, error) {
	a, err := s.accessPolicies.Create(ctx, req.GetAccessPolicy(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &policypb.CreateAccessPolicyResponse{AccessPolicy: a.Object, Revision: a.Revision, Warnings: a.Warnings}, nil
}

// UpdateAccessPolicy replaces an access policy.
func (s *Service) UpdateAccessPolicy(ctx context.Context, req *policypb.UpdateAccessPolicyRequest) (*policypb.UpdateAccessPolicyResponse, error) {
	a, err := s.accessPolicies.Update(ctx, req.GetAccessPolicy(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &policypb.UpdateAccessPolicyResponse{AccessPolicy: a.Object, Revision: a.Revision, Warnings: a.Warnings}, nil
}

// GetAccessPolicy reads an access policy.
func (s *Service) GetAccessPolicy(ctx context.Context, req *policypb.GetAccessPolicyRequest) (*policypb.GetAccessPolicyResponse, error) {
	object, err := s.accessPolicies.Get(ctx, req)
	if err != nil {
		return nil, err
	}
	return &policypb.GetAccessPolicyResponse{AccessPolicy: object}, nil
}

// ListAccessPolicies reads a page of them.
func (s *Service) ListAccessPolicies(ctx context.Context, req *policypb.ListAccessPoliciesRequest) (*policypb.ListAccessPoliciesResponse, error) {
	objects, next, err := s.accessPolicies.List(ctx, req)
	if err != nil {
		return nil, err
	}
	return &policypb.ListAccessPoliciesResponse{AccessPolicies: objects, NextPageToken: next}, nil
}

// DeleteAccessPolicy removes an access policy.
func (s *Service) DeleteAccessPolicy(ctx context.Context, req *policypb.DeleteAccessPolicyRequest) (*policypb.DeleteAccessPolicyResponse, error) {
	revision, err := s.accessPolicies.Delete(ctx, req)
	if err != nil {
		return nil, err
	}
	return &policypb.DeleteAccessPolicyResponse{Revision: revision}, nil
}
