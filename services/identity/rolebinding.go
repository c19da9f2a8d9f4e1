package identity

import (
	"context"
	"slices"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/resource"
)

// newBindings makes the role bindings. Their writes have no revision: nothing is compiled from them.
func newBindings(store kv.Store) *resource.Resource[model.RoleBinding, *identitypb.RoleBinding] {
	none := func(context.Context, int64) (model.Revision, error) { return model.Revision{}, nil }
	return resource.New(store, resource.Type[model.RoleBinding, *identitypb.RoleBinding]{
		Kind: model.KindRoleBinding, Collection: "rolebindings",
		Meta: (*model.RoleBinding).Metadata, Validate: (*model.RoleBinding).Validate,
		ToProto: modelpb.RoleBindingToProto, FromProto: modelpb.RoleBindingFromProto,
	}, none, resource.Hooks[model.RoleBinding]{})
}

// CreateRoleBinding adds a role binding.
func (s *Service) CreateRoleBinding(ctx context.Context, req *identitypb.CreateRoleBindingRequest) (*identitypb.CreateRoleBindingResponse, error) {
	a, err := s.bindings.Create(ctx, req.GetRoleBinding(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &identitypb.CreateRoleBindingResponse{RoleBinding: a.Object, Warnings: a.Warnings}, nil
}

// UpdateRoleBinding replaces a role binding.
func (s *Service) UpdateRoleBinding(ctx context.Context, req *identitypb.UpdateRoleBindingRequest) (*identitypb.UpdateRoleBindingResponse, error) {
	a, err := s.bindings.Update(ctx, req.GetRoleBinding(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &identitypb.UpdateRoleBindingResponse{RoleBinding: a.Object, Warnings: a.Warnings}, nil
}

// GetRoleBinding reads a role binding.
func (s *Service) GetRoleBinding(ctx context.Context, req *identitypb.GetRoleBindingRequest) (*identitypb.GetRoleBindingResponse, error) {
	object, err := s.bindings.Get(ctx, req)
	if err != nil {
		return nil, err
	}
	return &identitypb.GetRoleBindingResponse{RoleBinding: object}, nil
}

// ListRoleBindings reads a page of them.
func (s *Service) ListRoleBindings(ctx context.Context, req *identitypb.ListRoleBindingsRequest) (*identitypb.ListRoleBindingsResponse, error) {
	objects, next, err := s.bindings.List(ctx, req)
	if err != nil {
		return nil, err
	}
	return &identitypb.ListRoleBindingsResponse{RoleBindings: objects, NextPageToken: next}, nil
}

// DeleteRoleBinding removes a role binding.
func (s *Service) DeleteRoleBinding(ctx context.Context, req *identitypb.DeleteRoleBindingRequest) (*identitypb.DeleteRoleBindingResponse, error) {
	if _, err := s.bindings.Delete(ctx, req); err != nil {
		return nil, err
	}
	return &identitypb.DeleteRoleBindingResponse{}, nil
}

// maxSubjects bounds the subjects of one question: an OIDC token may name many groups.
const maxSubjects = 1024

// ResolveGrants says what the bindings give to the holder of a credential. It reads the store each time, so that a binding that
// was removed gives nothing at once.
func (s *Service) ResolveGrants(ctx context.Context, req *identitypb.ResolveGrantsRequest) (*identitypb.ResolveGrantsResponse, error) {
	if n := len(req.GetSubjects()); n > maxSubjects {
		return nil, fault.New(fault.Denied, "the credential names %d groups; at most %d are looked at", n-1, maxSubjects-1)
	}
	var subjects []model.Subject
	for _, p := range req.GetSubjects() {
		if subject := modelpb.SubjectFromProto(p); subject.Value != "" {
			subjects = append(subjects, subject)
		}
	}
	all, _, err := s.bindings.Collection().All(ctx, "")
	if err != nil {
		return nil, err
	}
	out := &identitypb.ResolveGrantsResponse{}
	for _, b := range all {
		if slices.Contains(subjects, b.Subject) {
			out.Grants = append(out.Grants, modelpb.GrantToProto(b.Grant))
		}
	}
	return out, nil
}
