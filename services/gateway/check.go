package gateway

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// CheckMesh looks at everything there is, and says what is wrong with it.
func (s *Service) CheckMesh(ctx context.Context, _ *adminpb.CheckMeshRequest) (*adminpb.CheckMeshResponse, error) {
	status, err := s.GetStatus(ctx, &adminpb.GetStatusRequest{})
	if err != nil {
		return nil, err
	}
	v := &view{status: status, now: status.GetReadTime().AsTime(), svidTTL: s.cfg.SVIDTTL, sees: seen(ctx)}
	findings := append(s.gather(ctx, v), s.restored(ctx, v.now)...)
	findings = append(findings, v.findings()...)
	slices.SortStableFunc(findings, func(a, b *adminpb.Finding) int { return cmp.Compare(b.GetSeverity(), a.GetSeverity()) })
	return &adminpb.CheckMeshResponse{Findings: findings}, nil
}

// gather reads all objects into the view. What cannot be read is a finding, and the rest is looked at without it.
func (s *Service) gather(ctx context.Context, v *view) []*adminpb.Finding {
	var findings []*adminpb.Finding
	read := func(service string, from func(conn grpc.ClientConnInterface) error) {
		conn, err := s.deps.Dial(service)
		if err == nil {
			err = from(conn)
		}
		if err != nil {
			findings = append(findings, &adminpb.Finding{
				Severity: adminpb.Severity_SEVERITY_ERROR, Subject: service, Message: "its objects cannot be read: " + plain(err),
				Remedy: "make it ready, then check again; nothing that depends on them was checked",
			})
		}
	}
	read(discovery, func(conn grpc.ClientConnInterface) error { return v.readCatalogue(ctx, conn) })
	read(policy, func(conn grpc.ClientConnInterface) error { return v.readPolicy(ctx, conn) })
	return findings
}

// pageSize is the most that services give at once.
const pageSize = 5000

// pages calls list with each page's token until there is none.
func pages(list func(token string) (next string, err error)) error {
	token := ""
	for {
		next, err := list(token)
		if err != nil || next == "" {
			return err
		}
		token = next
	}
}

func (v *view) readCatalogue(ctx context.Context, conn grpc.ClientConnInterface) error {
	client := discoverypb.NewDiscoveryServiceClient(conn)
	err := pages(func(token string) (string, error) {
		r, err := client.ListServices(ctx, &discoverypb.ListServicesRequest{PageSize: pageSize, PageToken: token})
		return r.GetNextPageToken(), collect(&v.services, r.GetServices(), modelpb.ServiceFromProto, err)
	})
	if err != nil {
		return fmt.Errorf("list services: %w", err)
	}
	err = pages(func(token string) (string, error) {
		r, err := client.ListWorkloads(ctx, &discoverypb.ListWorkloadsRequest{PageSize: pageSize, PageToken: token})
		return r.GetNextPageToken(), collect(&v.workloads, r.GetWorkloads(), modelpb.WorkloadFromProto, err)
	})
	if err != nil {
		return fmt.Errorf("list workloads: %w", err)
	}
	v.catalogueRead = true
	return nil
}

func (v *view) readPolicy(ctx context.Context, conn grpc.ClientConnInterface) error {
	client := policypb.NewPolicyServiceClient(conn)
	err := pages(func(token string) (string, error) {
		r, err := client.ListRoutes(ctx, &policypb.ListRoutesRequest{PageSize: pageSize, PageToken: token})
		return r.GetNextPageToken(), collect(&v.routes, r.GetRoutes(), modelpb.RouteFromProto, err)
	})
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	err = pages(func(token string) (string, error) {
		r, err := client.ListAccessPolicies(ctx, &policypb.ListAccessPoliciesRequest{PageSize: pageSize, PageToken: token})
		return r.GetNextPageToken(), collect(&v.policies, r.GetAccessPolicies(), modelpb.AccessPolicyFromProto, err)
	})
	if err != nil {
		return fmt.Errorf("list access policies: %w", err)
	}
	return nil
}

// collect turns one page into the model's own values.
func collect[P any, T any](into *[]T, page []P, from func(P) (T, error), err error) error {
	if err != nil {
		return rpc.FaultOf(err)
	}
	for _, p := range page {
		t, err := from(p)
		if err != nil {
			return err
		}
		*into = append(*into, t)
	}
	return nil
}

// workloadsOf are the workloads that are endpoints of a service.
func (v *view) workloadsOf(s *model.Service) []model.Workload {
	var out []model.Workload
	for _, w := range v.workloads {
		if w.Namespace == s.Namespace && slices.Contains(w.Services, s.Name) && s.Admits(w.Namespace, w.Account) {
			out = append(out, w)
		}
	}
	return out
}
