package policy

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/resource"
	"github.com/weft-mesh/weft/services/internal/rpc"
	"github.com/weft-mesh/weft/services/internal/state"
)

// Config holds the settings of the service.
type Config struct {
	// History is how many changes are kept for watchers that resume; 0: the feed's default.
	History int
}

// Deps are what the service needs of its process.
type Deps struct {
	Log     *zap.Logger
	Store   kv.Store
	Metrics prometheus.Registerer
	// Gateway and Distributor are the services that may call, by name.
	Gateway, Distributor string
}

// Service is the policy service.
type Service struct {
	policypb.UnimplementedPolicyServiceServer
	deps             Deps
	feed             *state.Feed
	routes           *resource.Resource[model.Route, *policypb.Route]
	accessPolicies   *resource.Resource[model.AccessPolicy, *policypb.AccessPolicy]
	meshConfigs      *resource.Resource[model.MeshConfig, *policypb.MeshConfig]
	externalServices *resource.Resource[model.ExternalService, *policypb.ExternalService]
}

var _ policypb.PolicyServiceServer = (*Service)(nil)

// New makes the service; it starts nothing.
func New(cfg Config, deps Deps) (*Service, error) {
	if deps.Log == nil || deps.Store == nil || deps.Metrics == nil {
		return nil, errors.New("policy needs a logger, a store and metrics")
	}
	resets := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weft_policy_watch_resets_total", Help: "Watchers that had to start anew, by reason.",
	}, []string{"reason"})
	if err := deps.Metrics.Register(resets); err != nil {
		return nil, err
	}
	s := &Service{deps: deps}
	s.feed = state.NewFeed(deps.Store, state.FeedConfig{
		Source: model.SourcePolicy, History: cfg.History, Log: deps.Log.Named("feed"),
		OnReset: func(reason string) { resets.WithLabelValues(reason).Inc() },
	}, routes().State().Mirror(), accessPolicies().State().Mirror(), meshConfigs().State().Mirror(), externalServices().State().Mirror())
	s.routes = resource.New(deps.Store, routes(), s.feed.Stamp, resource.Hooks[model.Route]{Warn: s.warnRoute})
	s.accessPolicies = resource.New(deps.Store, accessPolicies(), s.feed.Stamp, resource.Hooks[model.AccessPolicy]{
		Warn: func(_ context.Context, p *model.AccessPolicy) ([]model.Violation, error) { return p.Idle(), nil },
	})
	s.meshConfigs = resource.New(deps.Store, meshConfigs(), s.feed.Stamp, resource.Hooks[model.MeshConfig]{})
	s.externalServices = resource.New(deps.Store, externalServices(), s.feed.Stamp, resource.Hooks[model.ExternalService]{})
	return s, nil
}

// Register adds the API: the gateway reads and writes, the distributor watches.
func (s *Service) Register(r *rpc.Registrar) {
	policypb.RegisterPolicyServiceServer(r, s)
	r.Allow(policypb.PolicyService_Watch_FullMethodName, rpc.Services(s.deps.Gateway, s.deps.Distributor))
	r.AllowService(&policypb.PolicyService_ServiceDesc, rpc.Services(s.deps.Gateway))
}

// Run keeps the feed in step with the store until ctx ends.
func (s *Service) Run(ctx context.Context) error { return s.feed.Run(ctx) }

// Ready says why the service cannot answer yet, or nil.
func (s *Service) Ready() error { return s.feed.Ready() }
