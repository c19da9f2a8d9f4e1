package gateway

import (
	"context"

	"google.golang.org/grpc"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/manifest"
	"github.com/weft-mesh/weft/services/internal/model"
)

// written is what a service answers to a write.
type written struct {
	object   manifest.Object
	revision *typepb.SourceRevision
	warnings []*typepb.Warning
}

// kind is how objects of one kind are read and written.
type kind struct {
	name   string
	get    func(ctx context.Context, key model.Key) (manifest.Object, error)
	create func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error)
	update func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error)
}

// owners are connections to the services that own objects.
type owners struct {
	discovery, policy, identity grpc.ClientConnInterface
}

// kindOf finds the kind of an object; ok is false for a message that is no object.
func (o owners) kindOf(object manifest.Object) (k kind, ok bool) {
	switch object.(type) {
	case *discoverypb.Service:
		return serviceKind(discoverypb.NewDiscoveryServiceClient(o.discovery)), true
	case *discoverypb.Workload:
		return workloadKind(discoverypb.NewDiscoveryServiceClient(o.discovery)), true
	case *policypb.Route:
		return routeKind(policypb.NewPolicyServiceClient(o.policy)), true
	case *policypb.AccessPolicy:
		return accessPolicyKind(policypb.NewPolicyServiceClient(o.policy)), true
	case *policypb.MeshConfig:
		return meshConfigKind(policypb.NewPolicyServiceClient(o.policy)), true
	case *policypb.ExternalService:
		return externalServiceKind(policypb.NewPolicyServiceClient(o.policy)), true
	case *identitypb.RoleBinding:
		return roleBindingKind(identitypb.NewIdentityServiceClient(o.identity)), true
	}
	return kind{}, false
}

func serviceKind(c discoverypb.DiscoveryServiceClient) kind {
	return kind{
		name: model.KindService,
		get: func(ctx context.Context, key model.Key) (manifest.Object, error) {
			r, err := c.GetService(ctx, &discoverypb.GetServiceRequest{Namespace: key.Namespace, Name: key.Name})
			return r.GetService(), err
		},
		create: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.CreateService(ctx, &discoverypb.CreateServiceRequest{Service: o.(*discoverypb.Service), ValidateOnly: validateOnly})
			return written{r.GetService(), r.GetRevision(), r.GetWarnings()}, err
		},
		update: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.UpdateService(ctx, &discoverypb.UpdateServiceRequest{Service: o.(*discoverypb.Service), ValidateOnly: validateOnly})
			return written{r.GetService(), r.GetRevision(), r.GetWarnings()}, err
		},
	}
}

func workloadKind(c discoverypb.DiscoveryServiceClient) kind {
	return kind{
		name: model.KindWorkload,
		get: func(ctx context.Context, key model.Key) (manifest.Object, error) {
			r, err := c.GetWorkload(ctx, &discoverypb.GetWorkloadRequest{Namespace: key.Namespace, Name: key.Name})
			return r.GetWorkload(), err
		},
		create: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.CreateWorkload(ctx, &discoverypb.CreateWorkloadRequest{Workload: o.(*discoverypb.Workload), ValidateOnly: validateOnly})
			return written{r.GetWorkload(), r.GetRevision(), r.GetWarnings()}, err
		},
		update: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.UpdateWorkload(ctx, &discoverypb.UpdateWorkloadRequest{Workload: o.(*discoverypb.Workload), ValidateOnly: validateOnly})
			return written{r.GetWorkload(), r.GetRevision(), r.GetWarnings()}, err
		},
	}
}

func routeKind(c policypb.PolicyServiceClient) kind {
	return kind{
		name: model.KindRoute,
		get: func(ctx context.Context, key model.Key) (manifest.Object, error) {
			r, err := c.GetRoute(ctx, &policypb.GetRouteRequest{Namespace: key.Namespace, Name: key.Name})
			return r.GetRoute(), err
		},
		create: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.CreateRoute(ctx, &policypb.CreateRouteRequest{Route: o.(*policypb.Route), ValidateOnly: validateOnly})
			return written{r.GetRoute(), r.GetRevision(), r.GetWarnings()}, err
		},
		update: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.UpdateRoute(ctx, &policypb.UpdateRouteRequest{Route: o.(*policypb.Route), ValidateOnly: validateOnly})
			return written{r.GetRoute(), r.GetRevision(), r.GetWarnings()}, err
		},
	}
}

func accessPolicyKind(c policypb.PolicyServiceClient) kind {
	return kind{
		name: model.KindAccessPolicy,
		get: func(ctx context.Context, key model.Key) (manifest.Object, error) {
			r, err := c.GetAccessPolicy(ctx, &policypb.GetAccessPolicyRequest{Namespace: key.Namespace, Name: key.Name})
			return r.GetAccessPolicy(), err
		},
		create: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.CreateAccessPolicy(ctx, &policypb.CreateAccessPolicyRequest{AccessPolicy: o.(*policypb.AccessPolicy), ValidateOnly: validateOnly})
			return written{r.GetAccessPolicy(), r.GetRevision(), r.GetWarnings()}, err
		},
		update: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.UpdateAccessPolicy(ctx, &policypb.UpdateAccessPolicyRequest{AccessPolicy: o.(*policypb.AccessPolicy), ValidateOnly: validateOnly})
			return written{r.GetAccessPolicy(), r.GetRevision(), r.GetWarnings()}, err
		},
	}
}

func meshConfigKind(c policypb.PolicyServiceClient) kind {
	return kind{
		name: model.KindMeshConfig,
		get: func(ctx context.Context, key model.Key) (manifest.Object, error) {
			r, err := c.GetMeshConfig(ctx, &policypb.GetMeshConfigRequest{Namespace: key.Namespace, Name: key.Name})
			return r.GetMeshConfig(), err
		},
		create: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.CreateMeshConfig(ctx, &policypb.CreateMeshConfigRequest{MeshConfig: o.(*policypb.MeshConfig), ValidateOnly: validateOnly})
			return written{r.GetMeshConfig(), r.GetRevision(), r.GetWarnings()}, err
		},
		update: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.UpdateMeshConfig(ctx, &policypb.UpdateMeshConfigRequest{MeshConfig: o.(*policypb.MeshConfig), ValidateOnly: validateOnly})
			return written{r.GetMeshConfig(), r.GetRevision(), r.GetWarnings()}, err
		},
	}
}

func externalServiceKind(c policypb.PolicyServiceClient) kind {
	return kind{
		name: model.KindExternalService,
		get: func(ctx context.Context, key model.Key) (manifest.Object, error) {
			r, err := c.GetExternalService(ctx, &policypb.GetExternalServiceRequest{Namespace: key.Namespace, Name: key.Name})
			return r.GetExternalService(), err
		},
		create: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.CreateExternalService(ctx, &policypb.CreateExternalServiceRequest{ExternalService: o.(*policypb.ExternalService), ValidateOnly: validateOnly})
			return written{r.GetExternalService(), r.GetRevision(), r.GetWarnings()}, err
		},
		update: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.UpdateExternalService(ctx, &policypb.UpdateExternalServiceRequest{ExternalService: o.(*policypb.ExternalService), ValidateOnly: validateOnly})
			return written{r.GetExternalService(), r.GetRevision(), r.GetWarnings()}, err
		},
	}
}

// roleBindingKind has no revisions: no sidecar waits for a binding.
func roleBindingKind(c identitypb.IdentityServiceClient) kind {
	return kind{
		name: model.KindRoleBinding,
		get: func(ctx context.Context, key model.Key) (manifest.Object, error) {
			r, err := c.GetRoleBinding(ctx, &identitypb.GetRoleBindingRequest{Namespace: key.Namespace, Name: key.Name})
			return r.GetRoleBinding(), err
		},
		create: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.CreateRoleBinding(ctx, &identitypb.CreateRoleBindingRequest{RoleBinding: o.(*identitypb.RoleBinding), ValidateOnly: validateOnly})
			return written{r.GetRoleBinding(), nil, r.GetWarnings()}, err
		},
		update: func(ctx context.Context, o manifest.Object, validateOnly bool) (written, error) {
			r, err := c.UpdateRoleBinding(ctx, &identitypb.UpdateRoleBindingRequest{RoleBinding: o.(*identitypb.RoleBinding), ValidateOnly: validateOnly})
			return written{r.GetRoleBinding(), nil, r.GetWarnings()}, err
		},
	}
}
