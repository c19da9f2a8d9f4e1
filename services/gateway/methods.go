package gateway

import (
	"google.golang.org/grpc"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
)

// Names of the services that calls are passed on to.
const (
	discovery   = "discovery"
	identity    = "identity"
	policy      = "policy"
	telemetry   = "telemetry"
	distributor = "distributor"
)

// method is one call that is passed on.
type method struct {
	// service that owns it.
	service string
	// stream says that the answer is a stream without an end of its own.
	stream bool
}

// methods lists what is passed on, by full name. What only sidecars call (Register, Report, IssueX509SVID, the configuration
// stream) and what only the gateway calls (AuthenticateToken) is not there.
func methods() map[string]method {
	out := map[string]method{}
	add := func(service string, desc *grpc.ServiceDesc, names ...string) {
		streams := map[string]bool{}
		for _, s := range desc.Streams {
			streams[s.StreamName] = true
		}
		for _, name := range names {
			out["/"+desc.ServiceName+"/"+name] = method{service: service, stream: streams[name]}
		}
	}
	add(discovery, &discoverypb.DiscoveryService_ServiceDesc,
		"CreateService", "UpdateService", "GetService", "ListServices", "DeleteService",
		"CreateWorkload", "UpdateWorkload", "GetWorkload", "ListWorkloads", "DeleteWorkload",
		"ListEndpoints", "Watch")
	add(policy, &policypb.PolicyService_ServiceDesc,
		"CreateRoute", "UpdateRoute", "GetRoute", "ListRoutes", "DeleteRoute",
		"CreateAccessPolicy", "UpdateAccessPolicy", "GetAccessPolicy", "ListAccessPolicies", "DeleteAccessPolicy",
		"CreateMeshConfig", "UpdateMeshConfig", "GetMeshConfig", "ListMeshConfigs", "DeleteMeshConfig",
		"CreateExternalService", "UpdateExternalService", "GetExternalService", "ListExternalServices", "DeleteExternalService",
		"Watch")
	add(identity, &identitypb.IdentityService_ServiceDesc,
		"GetBundle", "WatchBundles", "CreateJoinToken", "CreateHostToken", "CreateAdminToken", "ListAdminTokens", "DeleteAdminToken")
	add(telemetry, &telemetrypb.TelemetryService_ServiceDesc, "QueryEdges")
	add(distributor, &configpb.ConvergenceService_ServiceDesc, "GetConvergence", "WatchConvergence", "ListSidecars")
	return out
}

// public says that a method needs no token: the trust bundle is public, and health says nothing but yes or no.
func public(method string) bool {
	switch method {
	case identitypb.IdentityService_GetBundle_FullMethodName, "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch":
		return true
	}
	return false
}
