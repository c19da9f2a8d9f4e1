package discovery

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/resource"
	"github.com/weft-mesh/weft/services/internal/rpc"
	"github.com/weft-mesh/weft/services/internal/state"
)

// Deps are what the service needs of its process.
type Deps struct {
	Log     *zap.Logger
	Store   kv.Store
	Metrics prometheus.Registerer
	// Replica is this replica's name among Peers, which lists the other live ones.
	Replica string
	Peers   func() []string
	// Gateway and Distributor are the services that may call, by name.
	Gateway, Distributor string
}

// Service is the discovery service.
type Service struct {
	server *server
}

// server answers the API. It is a type of its own because one of the API's methods is called Register too.
type server struct {
	discoverypb.UnimplementedDiscoveryServiceServer
	cfg       Config
	deps      Deps
	metrics   *metrics
	feed      *state.Feed
	services  *resource.Resource[model.Service, *discoverypb.Service]
	workloads *resource.Resource[model.Workload, *discoverypb.Workload]
	addresses *addresses
	leases    *leases
	static    *static
}

var _ discoverypb.DiscoveryServiceServer = (*server)(nil)

// New makes the service; it starts nothing.
func New(cfg Config, deps Deps) (*Service, error) {
	if deps.Log == nil || deps.Store == nil || deps.Metrics == nil || deps.Replica == "" || deps.Peers == nil {
		return nil, errors.New("discovery needs a logger, a store, metrics, a name and its peers")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, err
	}
	s := &server{cfg: cfg, deps: deps, metrics: m, addresses: newAddresses(deps.Store, pool())}
	s.feed = state.NewFeed(deps.Store, state.FeedConfig{
		Source: model.SourceDiscovery, History: cfg.History, Log: deps.Log.Named("feed"),
		OnReset: func(reason string) { m.resets.WithLabelValues(reason).Inc() },
	}, services().State().Mirror(), workloads().State().Mirror())
	s.services = resource.New(deps.Store, services(), s.feed.Stamp, resource.Hooks[model.Service]{
		Prepare: s.prepareService, Warn: warnService, Removing: s.removingService,
	})
	s.workloads = resource.New(deps.Store, workloads(), s.feed.Stamp, resource.Hooks[model.Workload]{
		Prepare: prepareWorkload, Warn: s.warnWorkload,
	})
	s.leases = newLeases(s)
	s.static = newStatic(s)
	return &Service{server: s}, nil
}

// Register adds the API: workloads register themselves, the gateway does everything else, the distributor watches.
func (s *Service) Register(r *rpc.Registrar) {
	discoverypb.RegisterDiscoveryServiceServer(r, s.server)
	r.Allow(discoverypb.DiscoveryService_Register_FullMethodName, rpc.Workloads())
	r.Leaves(discoverypb.DiscoveryService_Register_FullMethodName)
	r.Allow(discoverypb.DiscoveryService_Deregister_FullMethodName, rpc.Workloads())
	r.Allow(discoverypb.DiscoveryService_Watch_FullMethodName, rpc.Services(s.server.deps.Gateway, s.server.deps.Distributor))
	r.AllowService(&discoverypb.DiscoveryService_ServiceDesc, rpc.Services(s.server.deps.Gateway))
}

// Run follows the store, the leases and the static files until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	var g lifecycle.Group
	g.Add("feed", s.server.feed.Run)
	g.Add("sessions", s.server.leases.follow)
	g.Add("leases", s.server.leases.run)
	g.Add("static", s.server.static.run)
	return g.Run(ctx)
}

// Ready says why the service cannot answer yet, or nil.
func (s *Service) Ready() error { return s.server.feed.Ready() }
