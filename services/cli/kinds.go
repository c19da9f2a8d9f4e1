package cli

import (
	"context"
	"fmt"
	"strings"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/manifest"
)

// object is what every kind's message has.
type object = manifest.Object

// kind is what the verbs get and delete can do with one kind of object.
type kind struct {
	name    string   // as in manifests
	aliases []string // as on the command line
	get     func(ctx context.Context, c *client, namespace, name string) (object, error)
	list    func(ctx context.Context, c *client, q listQuery) ([]object, string, error)
	remove  func(ctx context.Context, c *client, namespace, name, etag string) (*typepb.SourceRevision, error)
}

// listQuery selects a page of objects.
type listQuery struct {
	namespace, filter, page string
}

// kinds lists all of them, in the order in which help names them.
func kinds() []kind {
	return []kind{
		serviceKind(), workloadKind(), routeKind(), accessPolicyKind(), meshConfigKind(), externalServiceKind(), roleBindingKind(),
	}
}

// findKind takes singular, plural and short names in any case.
func findKind(arg string) (kind, error) {
	var known []string
	for _, k := range kinds() {
		for _, alias := range k.aliases {
			if strings.EqualFold(arg, alias) {
				return k, nil
			}
		}
		known = append(known, k.aliases[0])
	}
	return kind{}, usageError{fmt.Errorf("unknown kind %q: allowed are %s", arg, strings.Join(known, ", "))}
}

func objects[T object](items []T) []object {
	out := make([]object, len(items))
	for i, item := range items {
		out[i] = item
	}
	return out
}

func serviceKind() kind {
	return kind{
		name: "Service", aliases: []string{"services", "service", "svc"},
		get: func(ctx context.Context, c *client, ns, name string) (object, error) {
			resp, err := c.discovery.GetService(ctx, &discoverypb.GetServiceRequest{Namespace: ns, Name: name})
			return resp.GetService(), err
		},
		list: func(ctx context.Context, c *client, q listQuery) ([]object, string, error) {
			resp, err := c.discovery.ListServices(ctx, &discoverypb.ListServicesRequest{Namespace: q.namespace, Filter: q.filter, PageToken: q.page})
			return objects(resp.GetServices()), resp.GetNextPageToken(), err
		},
		remove: func(ctx context.Context, c *client, ns, name, etag string) (*typepb.SourceRevision, error) {
			resp, err := c.discovery.DeleteService(ctx, &discoverypb.DeleteServiceRequest{Namespace: ns, Name: name, Etag: etag})
			return resp.GetRevision(), err
		},
	}
}

func workloadKind() kind {
	return kind{
		name: "Workload", aliases: []string{"workloads", "workload", "wl"},
		get: func(ctx context.Context, c *client, ns, name string) (object, error) {
			resp, err := c.discovery.GetWorkload(ctx, &discoverypb.GetWorkloadRequest{Namespace: ns, Name: name})
			return resp.GetWorkload(), err
		},
		list: func(ctx context.Context, c *client, q listQuery) ([]object, string, error) {
			resp, err := c.discovery.ListWorkloads(ctx, &discoverypb.ListWorkloadsRequest{Namespace: q.namespace, Filter: q.filter, PageToken: q.page})
			return objects(resp.GetWorkloads()), resp.GetNextPageToken(), err
		},
		remove: func(ctx context.Context, c *client, ns, name, etag string) (*typepb.SourceRevision, error) {
			resp, err := c.discovery.DeleteWorkload(ctx, &discoverypb.DeleteWorkloadRequest{Namespace: ns, Name: name, Etag: etag})
			return resp.GetRevision(), err
		},
	}
}

func routeKind() kind {
	return kind{
		name: "Route", aliases: []string{"routes", "route"},
		get: func(ctx context.Context, c *client, ns, name string) (object, error) {
			resp, err := c.policy.GetRoute(ctx, &policypb.GetRouteRequest{Namespace: ns, Name: name})
			return resp.GetRoute(), err
		},
		list: func(ctx context.Context, c *client, q listQuery) ([]object, string, error) {
			resp, err := c.policy.ListRoutes(ctx, &policypb.ListRoutesRequest{Namespace: q.namespace, Filter: q.filter, PageToken: q.page})
			return objects(resp.GetRoutes()), resp.GetNextPageToken(), err
		},
		remove: func(ctx context.Context, c *client, ns, name, etag string) (*typepb.SourceRevision, error) {
			resp, err := c.policy.DeleteRoute(ctx, &policypb.DeleteRouteRequest{Namespace: ns, Name: name, Etag: etag})
			return resp.GetRevision(), err
		},
	}
}

func accessPolicyKind() kind {
	return kind{
		name: "AccessPolicy", aliases: []string{"accesspolicies", "accesspolicy", "ap"},
		get: func(ctx context.Context, c *client, ns, name string) (object, error) {
			resp, err := c.policy.GetAccessPolicy(ctx, &policypb.GetAccessPolicyRequest{Namespace: ns, Name: name})
			return resp.GetAccessPolicy(), err
		},
		list: func(ctx context.Context, c *client, q listQuery) ([]object, string, error) {
			resp, err := c.policy.ListAccessPolicies(ctx, &policypb.ListAccessPoliciesRequest{Namespace: q.namespace, Filter: q.filter, PageToken: q.page})
			return objects(resp.GetAccessPolicies()), resp.GetNextPageToken(), err
		},
		remove: func(ctx context.Context, c *client, ns, name, etag string) (*typepb.SourceRevision, error) {
			resp, err := c.policy.DeleteAccessPolicy(ctx, &policypb.DeleteAccessPolicyRequest{Namespace: ns, Name: name, Etag: etag})
			return resp.GetRevision(), err
		},
	}
}

func meshConfigKind() kind {
	return kind{
		name: "MeshConfig", aliases: []string{"meshconfigs", "meshconfig", "mc"},
		get: func(ctx context.Context, c *client, ns, name string) (object, error) {
			resp, err := c.policy.GetMeshConfig(ctx, &policypb.GetMeshConfigRequest{Namespace: ns, Name: name})
			return resp.GetMeshConfig(), err
		},
		list: func(ctx context.Context, c *client, q listQuery) ([]object, string, error) {
			resp, err := c.policy.ListMeshConfigs(ctx, &policypb.ListMeshConfigsRequest{Namespace: q.namespace, Filter: q.filter, PageToken: q.page})
			return objects(resp.GetMeshConfigs()), resp.GetNextPageToken(), err
		},
		remove: func(ctx context.Context, c *client, ns, name, etag string) (*typepb.SourceRevision, error) {
			resp, err := c.policy.DeleteMeshConfig(ctx, &policypb.DeleteMeshConfigRequest{Namespace: ns, Name: name, Etag: etag})
			return resp.GetRevision(), err
		},
	}
}

func externalServiceKind() kind {
	return kind{
		name: "ExternalService", aliases: []string{"externalservices", "externalservice", "es"},
		get: func(ctx context.Context, c *client, ns, name string) (object, error) {
			resp, err := c.policy.GetExternalService(ctx, &policypb.GetExternalServiceRequest{Namespace: ns, Name: name})
			return resp.GetExternalService(), err
		},
		list: func(ctx context.Context, c *client, q listQuery) ([]object, string, error) {
			resp, err := c.policy.ListExternalServices(ctx, &policypb.ListExternalServicesRequest{Namespace: q.namespace, Filter: q.filter, PageToken: q.page})
			return objects(resp.GetExternalServices()), resp.GetNextPageToken(), err
		},
		remove: func(ctx context.Context, c *client, ns, name, etag string) (*typepb.SourceRevision, error) {
			resp, err := c.policy.DeleteExternalService(ctx, &policypb.DeleteExternalServiceRequest{Namespace: ns, Name: name, Etag: etag})
			return resp.GetRevision(), err
		},
	}
}

func roleBindingKind() kind {
	return kind{
		name: "RoleBinding", aliases: []string{"rolebindings", "rolebinding", "rb"},
		get: func(ctx context.Context, c *client, ns, name string) (object, error) {
			resp, err := c.identity.GetRoleBinding(ctx, &identitypb.GetRoleBindingRequest{Namespace: ns, Name: name})
			return resp.GetRoleBinding(), err
		},
		list: func(ctx context.Context, c *client, q listQuery) ([]object, string, error) {
			resp, err := c.identity.ListRoleBindings(ctx, &identitypb.ListRoleBindingsRequest{Namespace: q.namespace, Filter: q.filter, PageToken: q.page})
			return objects(resp.GetRoleBindings()), resp.GetNextPageToken(), err
		},
		remove: func(ctx context.Context, c *client, ns, name, etag string) (*typepb.SourceRevision, error) {
			_, err := c.identity.DeleteRoleBinding(ctx, &identitypb.DeleteRoleBindingRequest{Namespace: ns, Name: name, Etag: etag})
			return nil, err // no sidecar waits for it
		},
	}
}
