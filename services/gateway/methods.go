package gateway

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
	"github.com/weft-mesh/weft/services/gateway/access"
	"github.com/weft-mesh/weft/services/internal/model"
)

// Names of the services that calls are passed on to.
const (
	discovery   = "discovery"
	identity    = "identity"
	policy      = "policy"
	telemetry   = "telemetry"
	distributor = "distributor"
)

// method is one call that the gateway offers.
type method struct {
	// service that owns it; empty: the gateway itself.
	service string
	// rule says who may call it.
	rule access.Rule
	// stream says that the answer is a stream without an end of its own.
	stream bool
	// writes says that it changes something.
	writes bool
	// secret says that its answer holds a secret, which is never kept.
	secret bool

	input, output protoreflect.MessageType
}

// object makes the rules of the five calls about one kind of object.
type object struct {
	kind, plural string
	// read, list and write are the rules of reading one, many, and of changing.
	read, list, write access.Rule
}

// ofNamespace is a kind whose objects belong to their namespaces.
func ofNamespace(kind, plural string) object {
	return object{
		kind: kind, plural: plural,
		read:  access.Rule{Role: model.RoleViewer, Where: access.OfObject, Kind: kind},
		list:  access.Rule{Role: model.RoleViewer, Where: access.OfFilter, Kind: kind},
		write: access.Rule{Role: access.ToWrite(kind), Where: access.OfObject, Kind: kind},
	}
}

// ofMesh is a kind whose objects concern everybody, whatever namespace they lie in.
func ofMesh(kind, plural string, readers access.Where) object {
	return object{
		kind: kind, plural: plural,
		read:  access.Rule{Role: model.RoleViewer, Where: readers, Kind: kind},
		list:  access.Rule{Role: model.RoleViewer, Where: readers, Kind: kind},
		write: access.Rule{Role: access.ToWrite(kind), Where: access.OfObject, Kind: kind},
	}
}

func (o object) rules() map[string]access.Rule {
	return map[string]access.Rule{
		"Create" + o.kind: o.write, "Update" + o.kind: o.write, "Delete" + o.kind: o.write, "Get" + o.kind: o.read, "List" + o.plural: o.list,
	}
}

// methods lists what is offered, by full name, with who may call it. What only sidecars and joining hosts call (Register, Report,
// IssueX509SVID, the configuration stream, JoinHost) and what only the gateway calls (AuthenticateToken, ResolveGrants) is not there.
func methods() (map[string]method, error) {
	viewer := func(where access.Where) access.Rule { return access.Rule{Role: model.RoleViewer, Where: where} }
	administrator := access.Rule{Role: model.RoleAdministrator, Where: access.WholeMesh, Kind: "AdminToken"}
	t := table{methods: map[string]method{}}
	t.objects(discovery, discoverypb.DiscoveryService_ServiceDesc.ServiceName, ofNamespace(model.KindService, "Services"), ofNamespace(model.KindWorkload, "Workloads"))
	t.objects(policy, policypb.PolicyService_ServiceDesc.ServiceName,
		ofNamespace(model.KindRoute, "Routes"), ofNamespace(model.KindAccessPolicy, "AccessPolicies"), ofMesh(model.KindMeshConfig, "MeshConfigs", access.Shared),
		ofNamespace(model.KindExternalService, "ExternalServices"))
	t.objects(identity, identitypb.IdentityService_ServiceDesc.ServiceName, ofMesh(model.KindRoleBinding, "RoleBindings", access.WholeMesh))
	t.add(discovery, discoverypb.DiscoveryService_ServiceDesc.ServiceName, map[string]access.Rule{
		"ListEndpoints": {Role: model.RoleViewer, Where: access.OfObject, Kind: model.KindService},
		"Watch":         viewer(access.WholeMesh), // a step forward cannot be cut into namespaces without silent gaps
	})
	t.add(policy, policypb.PolicyService_ServiceDesc.ServiceName, map[string]access.Rule{"Watch": viewer(access.WholeMesh)})
	t.add(identity, identitypb.IdentityService_ServiceDesc.ServiceName, map[string]access.Rule{
		"GetBundle": viewer(access.Shared), "WatchBundles": viewer(access.Shared),
		"CreateJoinToken":  {Role: model.RoleOperator, Where: access.OfObject, Kind: "JoinToken"},
		"CreateHostToken":  {Role: model.RoleAdministrator, Where: access.WholeMesh, Kind: "HostToken"},
		"CreateAdminToken": administrator, "ListAdminTokens": administrator, "DeleteAdminToken": administrator,
	})
	t.add(telemetry, telemetrypb.TelemetryService_ServiceDesc.ServiceName, map[string]access.Rule{"QueryEdges": viewer(access.OfFilter)})
	t.add(distributor, configpb.ConvergenceService_ServiceDesc.ServiceName, map[string]access.Rule{
		"GetConvergence": viewer(access.Somewhere), "WatchConvergence": viewer(access.Somewhere), "ListSidecars": viewer(access.Somewhere),
	})
	t.add("", adminpb.AdminService_ServiceDesc.ServiceName, map[string]access.Rule{
		"Apply":     {Role: model.RoleOperator, Where: access.OfObject},
		"GetStatus": viewer(access.Somewhere), "CheckMesh": viewer(access.Somewhere), "WhoAmI": viewer(access.Somewhere),
		"ListAuditEvents": viewer(access.Somewhere), "WatchAuditEvents": viewer(access.Somewhere),
	})
	t.hosts(access.ForAccounts, identitypb.IdentityService_CreateJoinToken_FullMethodName)
	t.hosts(access.ForItself, identitypb.IdentityService_DeleteAdminToken_FullMethodName)
	t.hosts(access.ByGrants,
		discoverypb.DiscoveryService_GetService_FullMethodName, discoverypb.DiscoveryService_ListServices_FullMethodName,
		discoverypb.DiscoveryService_ListEndpoints_FullMethodName,
		configpb.ConvergenceService_GetConvergence_FullMethodName, configpb.ConvergenceService_WatchConvergence_FullMethodName,
		adminpb.AdminService_GetStatus_FullMethodName, adminpb.AdminService_CheckMesh_FullMethodName, adminpb.AdminService_WhoAmI_FullMethodName)
	return t.methods, t.err
}

// table collects methods and the first that does not exist.
type table struct {
	methods map[string]method
	err     error
}

func (t *table) objects(owner, service string, objects ...object) {
	for _, o := range objects {
		t.add(owner, service, o.rules())
	}
}

func (t *table) add(owner, service string, rules map[string]access.Rule) {
	for name, rule := range rules {
		m, err := describeMethod(service, name)
		if err != nil && t.err == nil {
			t.err = err
		}
		m.service, m.rule = owner, rule
		t.methods["/"+service+"/"+name] = m
	}
}

// hosts says what methods are good for to hosts' credentials. To those that are not named here they are good for nothing.
func (t *table) hosts(what access.Hosts, names ...string) {
	for _, name := range names {
		m, ok := t.methods[name]
		if !ok && t.err == nil {
			t.err = fmt.Errorf("%s is for hosts, but is not offered", name)
		}
		m.rule.Hosts = what
		t.methods[name] = m
	}
}

// describeMethod finds what the method's proto says.
func describeMethod(service, name string) (method, error) {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	if err != nil {
		return method{}, fmt.Errorf("method %s of %s: %w", name, service, err)
	}
	d, ok := found.(protoreflect.MethodDescriptor)
	if !ok || d.IsStreamingClient() {
		return method{}, fmt.Errorf("%s of %s is no method with one request", name, service)
	}
	m := method{stream: d.IsStreamingServer(), writes: changes(name), secret: secret(name)}
	if m.input, err = protoregistry.GlobalTypes.FindMessageByName(d.Input().FullName()); err != nil {
		return method{}, fmt.Errorf("request of %s of %s: %w", name, service, err)
	}
	if m.output, err = protoregistry.GlobalTypes.FindMessageByName(d.Output().FullName()); err != nil {
		return method{}, fmt.Errorf("response of %s of %s: %w", name, service, err)
	}
	return m, nil
}

// secret says whether the answer of a method holds one.
func secret(name string) bool {
	return slices.Contains([]string{"CreateJoinToken", "CreateHostToken", "CreateAdminToken"}, name)
}

// changes says whether a method changes something, by the verb that its name begins with.
func changes(name string) bool {
	for _, verb := range []string{"Create", "Update", "Delete", "Apply"} {
		if strings.HasPrefix(name, verb) {
			return true
		}
	}
	return false
}

// public says that a method needs no credential: the trust bundle is public, and health says nothing but yes or no.
func public(method string) bool {
	switch method {
	case identitypb.IdentityService_GetBundle_FullMethodName, "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch":
		return true
	}
	return false
}
