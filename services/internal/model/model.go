// Package model holds the mesh's nouns and their rules: plain Go values, no storage, no wire format, no clock. Every front
// end compiles into these types, and validation lives here once for all of them.
package model

import (
	"net/netip"
	"time"
)

// DefaultNamespace is what an empty namespace means.
const DefaultNamespace = "default"

// Kinds, as in manifests.
const (
	KindService         = "Service"
	KindWorkload        = "Workload"
	KindRoute           = "Route"
	KindAccessPolicy    = "AccessPolicy"
	KindMeshConfig      = "MeshConfig"
	KindExternalService = "ExternalService"
	KindRoleBinding     = "RoleBinding"
)

// Key identifies an object within its kind.
type Key struct {
	Namespace string
	Name      string
}

// String is "namespace/name".
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Less orders keys by namespace, then name.
func (k Key) Less(o Key) bool {
	if k.Namespace != o.Namespace {
		return k.Namespace < o.Namespace
	}
	return k.Name < o.Name
}

// Meta is what every object has.
type Meta struct {
	Key
	Labels     map[string]string
	Etag       string
	CreateTime time.Time
	UpdateTime time.Time
	// Origin names the writer that keeps the object in step; empty for people.
	Origin string
}

// Ref names one version of one object.
type Ref struct {
	Kind string
	Key
	Etag string
}

// Protocol is how a port speaks; the zero value is undeclared.
type Protocol uint8

// The protocols, numbered as on the wire.
const (
	ProtocolUndeclared Protocol = iota
	ProtocolHTTP
	ProtocolHTTP2
	ProtocolGRPC
	ProtocolTCP
	ProtocolUDP
)

// UDP says that the protocol is carried by UDP rather than TCP. Numbers of ports are of one of the two.
func (p Protocol) UDP() bool { return p == ProtocolUDP }

// Service is the name that clients call.
type Service struct {
	Meta
	// Accounts whose workloads may be endpoints, as "account" or "namespace/account".
	Accounts []string
	Ports    []ServicePort
	// VirtualAddress is given by discovery.
	VirtualAddress netip.Addr
}

// ServicePort is one port of a service.
type ServicePort struct {
	Name       string
	Port       uint16
	TargetPort uint16
	Protocol   Protocol
}

// WorkloadState is the life of a workload's lease.
type WorkloadState uint8

// The states, numbered as on the wire.
const (
	WorkloadReady    WorkloadState = 1
	WorkloadUnknown  WorkloadState = 2
	WorkloadDraining WorkloadState = 3
)

// Workload is one running instance of a program, with its sidecar.
type Workload struct {
	Meta
	Account string
	// Services of its own namespace that it is an endpoint of.
	Services []string
	// Labels that backends select on. (Meta.Labels are for people.)
	Selectable  map[string]string
	Address     netip.Addr
	MeshPort    uint16
	Ports       []WorkloadPort
	Locality    string
	State       WorkloadState
	LeaseHolder string
	// AdminAddress of its sidecar, on its own host.
	AdminAddress string
}

// WorkloadPort is one port of the app.
type WorkloadPort struct {
	// ServicePort that it serves; 0: any.
	ServicePort uint16
	Port        uint16
	Protocol    Protocol
}

// Route says where requests to one service go.
type Route struct {
	Meta
	Service string
	Rules   []RouteRule
}

// RouteRule is one line of a route.
type RouteRule struct {
	Match    []HTTPMatch
	Backends []Backend
	// Timeout of the whole request; 0: none.
	Timeout time.Duration
	// Retry is nil when only what is always safe is retried.
	Retry *RetryPolicy
}

// HTTPMatch is a set of conditions that must all hold.
type HTTPMatch struct {
	Path    *StringMatch
	Methods []string
	Headers []HeaderMatch
}

// MatchKind is a way to compare.
type MatchKind uint8

// The ways.
const (
	MatchExact MatchKind = iota + 1
	MatchPrefix
	MatchRegex
	MatchPresent
	MatchAbsent
)

// StringMatch compares a string.
type StringMatch struct {
	Kind  MatchKind
	Value string
}

// HeaderMatch compares a header.
type HeaderMatch struct {
	Name string
	StringMatch
}

// Backend is a weighted reference.
type Backend struct {
	Service string
	Labels  map[string]string
	// Weight relative to the other backends; 0: no traffic.
	Weight uint32
}

// RetryPolicy widens what is retried.
type RetryPolicy struct {
	Attempts uint32
	PerTry   time.Duration
	Statuses []uint32
}

// AccessPolicy is an allow-list at a destination.
type AccessPolicy struct {
	Meta
	// Account of the workloads that are protected, in the policy's namespace.
	Account string
	Allow   []AccessRule
}

// AccessRule lets some sources do some things.
type AccessRule struct {
	From []AccessSource
	To   []HTTPMatch
}

// AccessSource is an account, or every account of a namespace when Account is empty.
type AccessSource struct {
	Account   string
	Namespace string
}

// MTLSMode is numbered as on the wire.
type MTLSMode uint8

// The modes.
const (
	MTLSUnset MTLSMode = iota
	MTLSOff
	MTLSPermissive
	MTLSStrict
)

// AccessDefault is numbered as on the wire.
type AccessDefault uint8

// The defaults.
const (
	AccessUnset AccessDefault = iota
	AccessAllow
	AccessDeny
)

// Balancing is numbered as on the wire.
type Balancing uint8

// The methods.
const (
	BalancingUnset Balancing = iota
	BalancingPeakEWMA
	BalancingRoundRobin
	BalancingLeastRequest
)

// EgressMode is numbered as on the wire.
type EgressMode uint8

// The modes; unset is strict where mTLS is.
const (
	EgressUnset EgressMode = iota
	EgressOpen
	EgressStrict
)

// MeshConfig holds the settings of the mesh.
type MeshConfig struct {
	Meta
	MTLS      MTLSMode
	Access    AccessDefault
	Balancing Balancing
	// RetryBudget is nil for the default of 20 % and 10 a second.
	RetryBudget *RetryBudget
	Egress      EgressMode
}

// RetryBudget bounds the load that retries add.
type RetryBudget struct {
	Percent      uint32
	MinPerSecond uint32
}

// ExternalService is a destination outside of the mesh.
type ExternalService struct {
	Meta
	// Hosts are DNS names; a leading "*." stands for one label or more.
	Hosts []string
	// Addresses are IP addresses or ranges; see ParseRange.
	Addresses []string
	// Ports; empty: every port.
	Ports []uint16
}
