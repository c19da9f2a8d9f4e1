// Package table is what a sidecar routes by: an immutable picture of the services, endpoints, access rules and settings that
// its workload needs. It knows nothing of connections, health or load: those outlive a table and live in registries of
// their own. snapshot builds tables; listeners load one per connection (L4) or request (L7) and pass it on as a value.
package table

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/match"
)

// Table is one immutable state. Nothing reachable from it may be written after Holder.Store.
type Table struct {
	// Mesh holds settings; always set.
	Mesh Mesh
	// Index knows every service of the mesh, bodies or not.
	Index Index
	// Services holds the bodies, by "namespace/name".
	Services map[string]*Service
	// Addresses holds what the mesh has at addresses that were called directly; one that is not here is not known (yet).
	Addresses map[netip.Addr]*Address
	// Egress says what may be called outside of the mesh; nil: nobody has said, the mTLS mode decides.
	Egress *Egress
	// Inbound describes the sidecar's own workload; nil until configured.
	Inbound *Inbound
	// Access decides inbound requests; nil (never configured) denies everything.
	Access *Access
	// Sequence grows with every table that this process makes.
	Sequence uint64
}

// Index answers whether a service exists without having its body.
type Index interface {
	// Lookup finds a service by "namespace/name".
	Lookup(name string) (IndexEntry, bool)
	// ByAddress finds a service by its virtual address. It does not allocate.
	ByAddress(addr netip.Addr) (IndexEntry, bool)
	// Each goes through all services, in no order, until yield returns false.
	Each(yield func(IndexEntry) bool)
}

// IndexEntry is what is known of every service.
type IndexEntry struct {
	Name           string
	VirtualAddress netip.Addr
	Ports          []ServicePort // not to be written
	Meshed         bool
}

// Mesh holds the settings of the mesh.
type Mesh struct {
	TrustDomain spiffeid.TrustDomain
	MTLS        MTLSMode
	Balancing   Balancing
	Retry       RetryBudget
}

// RetryBudget bounds the load that retries add.
type RetryBudget struct {
	// Percent of requests that retries may add.
	Percent uint32
	// MinPerSecond is always allowed.
	MinPerSecond uint32
}

// MTLSMode says what is accepted and sent.
type MTLSMode uint8

// The modes; the zero value is the strictest, so that an unset field opens nothing.
const (
	Strict MTLSMode = iota
	Permissive
	Off
)

// Balancing is the method that picks an endpoint.
type Balancing uint8

// The methods; the zero value is the default.
const (
	PeakEWMA Balancing = iota
	RoundRobin
	LeastRequest
)

// Protocol is how a port speaks; the zero value means: tell from the first bytes.
type Protocol uint8

// The protocols.
const (
	Detect Protocol = iota
	HTTP            // HTTP/1.1, HTTP/2 when the client starts with its preface
	HTTP2           // HTTP/2 with prior knowledge
	GRPC            // gRPC over HTTP/2 with prior knowledge
	TCP             // any byte stream
	UDP             // datagrams; never guessed
)

// Service is how to reach one service.
type Service struct {
	// Name is "namespace/name".
	Name string
	// Ports that clients may name, ascending.
	Ports []ServicePort
	// Rules are tried in order; the first that matches decides. snapshot appends the default rule (the service itself)
	// so that a request always finds one.
	Rules []Rule
	// Route is the "namespace/name" of the route that the rules came from; empty without one.
	Route string
	// Balancing of this service.
	Balancing Balancing
}

// Port finds a port of TCP by number; 0 means the only one. A service without declared ports accepts every number with an
// undeclared protocol.
func (s *Service) Port(number uint16) (ServicePort, bool) {
	if len(s.Ports) == 0 {
		return ServicePort{Number: number}, true
	}
	return s.port(number, false)
}

// UDPPort finds a port of UDP like Port; the number may be that of a port of TCP too.
func (s *Service) UDPPort(number uint16) (ServicePort, bool) {
	if len(s.Ports) == 0 {
		return ServicePort{Number: number, Protocol: UDP}, true
	}
	return s.port(number, true)
}

func (s *Service) port(number uint16, udp bool) (found ServicePort, ok bool) {
	for _, p := range s.Ports {
		switch {
		case (p.Protocol == UDP) != udp:
		case number != 0 && p.Number == number:
			return p, true
		case number == 0 && ok:
			return ServicePort{}, false // which of them?
		case number == 0:
			found, ok = p, true
		}
	}
	return found, ok
}

// ServicePort is one port.
type ServicePort struct {
	Number   uint16
	Protocol Protocol
}

// Rule is one line of a route.
type Rule struct {
	// Matches: any one suffices; none: everything.
	Matches []match.HTTP
	// Backends by weight; weights of zero are left out. Empty: reason no_backend.
	Backends []Backend
	// TotalWeight is the sum over Backends.
	TotalWeight uint32
	// Timeout of the whole request; 0: none.
	Timeout time.Duration
	// Retry widens what is retried.
	Retry RetryPolicy
}

// RetryPolicy is what a route adds to the retries that are always safe.
type RetryPolicy struct {
	// Attempts after the first; 0: only what is always safe.
	Attempts int
	// PerTry bounds one try; 0: none.
	PerTry time.Duration
	// Statuses that are retried for idempotent methods.
	Statuses []int
}

// Backend is a weighted share of a rule, already resolved to endpoints.
type Backend struct {
	// Service is "namespace/name".
	Service string
	// Weight, above zero.
	Weight uint32
	// Set holds the endpoints that have the backend's labels; nil when the service does not exist: reason no_backend.
	Set *EndpointSet
}

// EndpointSet is an ordered choice for the balancer. A set is shared by every rule that means the same service and labels.
type EndpointSet struct {
	// Key identifies service and labels, for state that outlives a table.
	Key string
	// Service is "namespace/name".
	Service string
	// Endpoints in order of workload and port. Draining ones are left out.
	Endpoints []*Endpoint
}

// Endpoint is one workload through one port. State that outlives a table (health, load, connections) is keyed by Key.
type Endpoint struct {
	// Key is "namespace/workload address:mesh/target", with "/udp" behind it for UDP, unique over time for one place.
	Key string
	// Workload is "namespace/workload".
	Workload string
	// Service is "namespace/name".
	Service string
	// ServicePort is the service's port that this serves; 0: any.
	ServicePort uint16
	// Address of the workload.
	Address netip.Addr
	// MeshPort of its sidecar; 0: not meshed.
	MeshPort uint16
	// TargetPort of the app.
	TargetPort uint16
	// UDP: both ports are of UDP.
	UDP bool
	// ID that the peer must present, when meshed.
	ID spiffeid.ID
	// Version is the value of the label "version".
	Version string
	// Unknown: its lease ran out; used only when no other is left.
	Unknown bool
}

// Inbound is the sidecar's own workload.
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
	Port uint16
	// TargetPort of the app, on loopback.
	TargetPort uint16
	Protocol   Protocol
}

// Access decides inbound requests.
type Access struct {
	// Open: no policy selects this workload and the mesh's default is allow.
	Open bool
	// Rules: any one suffices.
	Rules []AccessRule
}

// AccessRule lets some peers do some things.
type AccessRule struct {
	// Name is "namespace/policy[index]".
	Name string
	// IDs that match exactly.
	IDs map[spiffeid.ID]struct{}
	// IDPrefixes each end in "/".
	IDPrefixes []string
	// Matches: any one suffices; none: everything, also TCP and UDP.
	Matches []match.HTTP
}

// Holder is the one place where the current table hangs. The zero value holds nothing.
type Holder struct {
	p atomic.Pointer[Table]

	mu      sync.Mutex
	changed chan struct{} // closed and replaced on every Store; nil until somebody waits
}

// Load returns the current table, or nil before the first.
func (h *Holder) Load() *Table { return h.p.Load() }

// Store makes t current and wakes everyone who waits.
func (h *Holder) Store(t *Table) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.p.Store(t)
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// Changed returns a channel that is closed at the next Store. Take it before Load, so that no change is missed.
func (h *Holder) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.changed
}
