package compile

import (
	"net/netip"
	"time"

	"github.com/weft-mesh/weft/services/internal/model"
)

// Names of the resources of which a sidecar holds one each.
const (
	NameMesh    = "mesh"
	NameInbound = "inbound"
	NameAccess  = "access"
	NameBundle  = "bundle"
	NameEgress  = "egress"
)

// ServiceName is the name of a service's body.
func ServiceName(k model.Key) string { return "service/" + k.String() }

// EndpointsName is the name of a service's endpoints.
func EndpointsName(k model.Key) string { return "endpoints/" + k.String() }

// AddressName is the name of what is at an IP address.
func AddressName(a netip.Addr) string { return "address/" + a.String() }

// Resource is one unit of configuration with a version of its own. It is immutable.
type Resource struct {
	// Name is unique among what one sidecar holds.
	Name string
	// Version is the hash of the body's canonical form: equal on every replica.
	Version string
	// MadeFrom is the vector at which the version last changed on this replica.
	MadeFrom model.Vector
	// Origins are the objects that the body was made from, in order of kind and key.
	Origins []model.Ref
	// Body is one of *Mesh, *Inbound, *Access, *TrustBundle, *Service, *EndpointSet, *Address, *Egress.
	Body Body
}

// Body is the content of a resource.
type Body interface {
	write(c *canon)
}

// Mesh holds settings of the mesh, defaults filled in.
type Mesh struct {
	TrustDomain       string
	MTLS              model.MTLSMode
	Balancing         model.Balancing
	RetryPercent      uint32
	RetryMinPerSecond uint32
}

// TrustBundle holds the authorities that peers are verified against.
type TrustBundle struct {
	TrustDomain string
	Authorities [][]byte
}

// Inbound is what a sidecar knows of its own workload.
type Inbound struct {
	Namespace string
	Account   string
	Workload  string
	Labels    map[string]string
	Ports     []InboundPort
}

// InboundPort maps a service's port to the app's.
type InboundPort struct {
	// Service is "namespace/name".
	Service string
	// Port of the service; 0: any.
	Port       uint16
	TargetPort uint16
	Protocol   model.Protocol
}

// Access decides inbound requests. Without rules and not Open it denies everything.
type Access struct {
	Open  bool
	Rules []AccessRule
}

// AccessRule lets some peers do some things.
type AccessRule struct {
	// Name is "namespace/policy[index]".
	Name string
	// IDs match exactly.
	IDs []string
	// IDPrefixes each end in "/".
	IDPrefixes []string
	// Matches: any one suffices; none: every operation, also TCP and UDP.
	Matches []model.HTTPMatch
}

// Service is how to reach one service.
type Service struct {
	// Name is "namespace/name".
	Name  string
	Ports []ServicePort
	// Rules are tried in order; a request that none fits goes to the service's own endpoints.
	Rules []RouteRule
	// Route is the "namespace/name" that the rules came from; empty without one.
	Route string
}

// ServicePort is one port.
type ServicePort struct {
	Port     uint16
	Protocol model.Protocol
}

// RouteRule is one line of a route.
type RouteRule struct {
	Matches       []model.HTTPMatch
	Backends      []Backend
	Timeout       time.Duration
	RetryAttempts uint32
	PerTry        time.Duration
	RetryStatuses []uint32
}

// Backend is a weighted share.
type Backend struct {
	Service model.Key
	Labels  map[string]string
	Weight  uint32
	// Missing says that there is no such service (yet).
	Missing bool
}

// EndpointSet is where the workloads of one service are.
type EndpointSet struct {
	// Service is "namespace/name".
	Service string
	// IDs that a peer of this service may have, ascending. Empty: none is trusted.
	IDs []string
	// Endpoints in order of workload and port, TCP before UDP.
	Endpoints []Endpoint
}

// Endpoint is one workload through one port.
type Endpoint struct {
	Workload string
	Address  netip.Addr
	// MeshPort 0: not meshed, plaintext to TargetPort.
	MeshPort uint16
	// Port of the service; 0: any.
	Port       uint16
	TargetPort uint16
	Labels     map[string]string
	// UDP: both ports are of UDP.
	UDP bool
	// ID is empty when not meshed.
	ID       string
	Unknown  bool
	Draining bool
}

// Address is what the mesh has at one IP address: nothing, without ports.
type Address struct {
	Address netip.Addr
	// Ports in order of target port, each once.
	Ports []AddressPort
}

// AddressPort is one program's port at an address.
type AddressPort struct {
	// Service is "namespace/name".
	Service  string
	Protocol model.Protocol
	Endpoint Endpoint
}

// Egress says what may be called outside of the mesh.
type Egress struct {
	Strict bool
	// Services in order of name.
	Services []ExternalService
}

// ExternalService is a destination outside of the mesh.
type ExternalService struct {
	// Name is "namespace/name".
	Name string
	// Hosts, Addresses (as CIDR) and Ports, each in ascending order and each once.
	Hosts     []string
	Addresses []string
	Ports     []uint16
}

// Shard is a part of the index.
type Shard struct {
	Number  uint32
	Version string
	// Entries in order of name.
	Entries []IndexEntry
}

// IndexEntry is what every sidecar knows of every service.
type IndexEntry struct {
	Name           string
	VirtualAddress netip.Addr
	Ports          []ServicePort
	Meshed         bool
}
