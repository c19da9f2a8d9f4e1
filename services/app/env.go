package app

import (
	"context"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/rpc"
	"github.com/weft-mesh/weft/services/internal/selfid"
)

// Names of the services, as in their accounts (spiffe://<td>/ns/weft-system/sa/<name>), flags and etcd prefixes.
const (
	Discovery   = "discovery"
	Identity    = "identity"
	Policy      = "policy"
	Telemetry   = "telemetry"
	Distributor = "distributor"
	Gateway     = "gateway"
)

// Env is what a process lends to one service. Only build.go files mention it; everything else takes typed dependencies.
type Env struct {
	// Log is named after the service.
	Log *zap.Logger
	// Settings of the process; shared, read only.
	Settings *Settings
	// Store is the service's own part of the store (/weft/<service>/v1/), and nothing else of it.
	Store kv.Store
	// Trust holds the service's own SVID and the bundle. It is filled before the servers accept.
	Trust *spiffe.Source
	// Dial connects to a service: in memory when it is in this process, over the network when not, with mTLS either way.
	// The connection is made lazily, so that services may start in any order.
	Dial func(service string) (grpc.ClientConnInterface, error)
	// DialEach connects to every replica of a service by itself, by address: for asking how each of them is. In this process
	// there is one, named as Replica.
	DialEach func(service string) (map[string]grpc.ClientConnInterface, error)
	// Metrics is where the service registers its collectors.
	Metrics prometheus.Registerer
	// Replica is the unique name of this process among its peers.
	Replica string
	// Peers finds the other replicas of this service, through leased keys in its own part of the store.
	Peers rpc.Peers
	// Listen hands over a listener that the process opened for the service, once: ListenGRPC and ListenREST for the gateway,
	// whose callers are people without SVIDs. It serves them in Run as it likes, and closes them.
	Listen func(name string) (net.Listener, error)
}

// Names of the gateway's listeners.
const (
	// ListenGRPC is its gRPC port, which no server of the process serves.
	ListenGRPC = "grpc"
	// ListenREST is its REST API and console.
	ListenREST = "rest"
)

// Service is one built service. Register is called once before Run; both are called once.
type Service interface {
	// Register adds the service's RPCs and says who may call each method.
	Register(r *rpc.Registrar)
	// Run does the service's background work until ctx ends. The gRPC server runs beside it.
	Run(ctx context.Context) error
	// Ready says why the service cannot answer yet, or nil.
	Ready() error
}

// Build makes a service out of what the process lends; it starts nothing.
type Build struct {
	// Name of the service.
	Name string
	// New makes it.
	New func(env *Env) (Service, error)
	// Issuer is set by identity alone: it makes what signs the SVIDs of every service in this process, without any service
	// running yet. It is called before New, with an Env whose Trust is still empty, and may use the store only.
	Issuer func(ctx context.Context, env *Env) (selfid.Issuer, error)
}
