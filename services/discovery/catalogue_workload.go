package discovery

import (
	"context"
	"fmt"
	"strings"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

// CreateWorkload adds a workload.
func (s *server) CreateWorkload(ctx context.Context, req *discoverypb.CreateWorkloadRequest) (*discoverypb.CreateWorkloadResponse, error) {
	a, err := s.workloads.Create(ctx, req.GetWorkload(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &discoverypb.CreateWorkloadResponse{Workload: a.Object, Revision: a.Revision, Warnings: a.Warnings}, nil
}

// UpdateWorkload replaces a workload.
func (s *server) UpdateWorkload(ctx context.Context, req *discoverypb.UpdateWorkloadRequest) (*discoverypb.UpdateWorkloadResponse, error) {
	a, err := s.workloads.Update(ctx, req.GetWorkload(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &discoverypb.UpdateWorkloadResponse{Workload: a.Object, Revision: a.Revision, Warnings: a.Warnings}, nil
}

// GetWorkload reads a workload.
func (s *server) GetWorkload(ctx context.Context, req *discoverypb.GetWorkloadRequest) (*discoverypb.GetWorkloadResponse, error) {
	object, err := s.workloads.Get(ctx, req)
	if err != nil {
		return nil, err
	}
	return &discoverypb.GetWorkloadResponse{Workload: object}, nil
}

// ListWorkloads reads a page of them.
func (s *server) ListWorkloads(ctx context.Context, req *discoverypb.ListWorkloadsRequest) (*discoverypb.ListWorkloadsResponse, error) {
	objects, next, err := s.workloads.List(ctx, req)
	if err != nil {
		return nil, err
	}
	return &discoverypb.ListWorkloadsResponse{Workloads: objects, NextPageToken: next}, nil
}

// DeleteWorkload removes a workload.
func (s *server) DeleteWorkload(ctx context.Context, req *discoverypb.DeleteWorkloadRequest) (*discoverypb.DeleteWorkloadResponse, error) {
	revision, err := s.workloads.Delete(ctx, req)
	if err != nil {
		return nil, err
	}
	return &discoverypb.DeleteWorkloadResponse{Revision: revision}, nil
}

// prepareWorkload keeps what discovery knows of a workload. One that an administrator adds has no lease and is READY.
func prepareWorkload(_ context.Context, next, current *model.Workload, _ bool) error {
	next.State, next.LeaseHolder, next.AdminAddress = model.WorkloadReady, "", ""
	if current != nil {
		next.State, next.LeaseHolder, next.AdminAddress = current.State, current.LeaseHolder, current.AdminAddress
	}
	return nil
}

// warnWorkload tells which services do not exist, or do not admit the workload's account.
func (s *server) warnWorkload(ctx context.Context, w *model.Workload) ([]model.Violation, error) {
	var out []model.Violation
	for _, ref := range w.References() {
		service, err := s.services.Collection().Get(ctx, ref.Key)
		switch {
		case fault.Is(err, fault.NotFound):
			out = append(out, model.Unresolved([]model.Reference{ref}, func(string, model.Key) bool { return false })...)
		case err != nil:
			return nil, err
		case !service.Admits(w.Namespace, w.Account):
			out = append(out, model.Violation{Path: ref.Path, Problem: notAdmitted(&service, w.Account)})
		}
	}
	return out, nil
}

// notAdmitted says who may be an endpoint of a service.
func notAdmitted(s *model.Service, account string) string {
	if len(s.Accounts) == 0 {
		return fmt.Sprintf("service %q admits no account; add %q to its spec.accounts", s.Key, account)
	}
	return fmt.Sprintf("service %q does not admit account %q; it admits %s", s.Key, account, strings.Join(s.Accounts, ", "))
}
