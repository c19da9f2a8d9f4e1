package telemetry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// Config holds the settings of the service.
type Config struct {
	Limits Limits
	// Sweep is how often what no window can reach is forgotten.
	Sweep time.Duration
}

// Default is what a Config is unless somebody says otherwise.
func Default() Config {
	return Config{
		Limits: Limits{Sidecars: 5_000, Edges: 40_000, EdgesPerSidecar: 2_000},
		Sweep:  10 * time.Second,
	}
}

// Validate reports all problems of the configuration.
func (c Config) Validate() error {
	var errs []error
	for name, n := range map[string]int{
		"limits.sidecars": c.Limits.Sidecars, "limits.edges": c.Limits.Edges,
		"limits.edges_per_sidecar": c.Limits.EdgesPerSidecar, "sweep": int(c.Sweep),
	} {
		if n <= 0 {
			errs = append(errs, fmt.Errorf("%s is %d, must be positive", name, n))
		}
	}
	return errors.Join(errs...)
}

// Deps are what the service needs of its process.
type Deps struct {
	Log     *zap.Logger
	Metrics prometheus.Registerer
	Peers   rpc.Peers
	// Replica is this replica's name.
	Replica string
	// Now is the clock.
	Now func() time.Time
}

// Service is the telemetry service.
type Service struct {
	telemetrypb.UnimplementedTelemetryServiceServer
	cfg     Config
	deps    Deps
	memory  *memory
	metrics *metrics
	started time.Time
}

var _ telemetrypb.TelemetryServiceServer = (*Service)(nil)

// New makes the service.
func New(cfg Config, deps Deps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuration of telemetry: %w", err)
	}
	s := &Service{cfg: cfg, deps: deps, memory: newMemory(cfg.Limits), started: deps.Now()}
	s.metrics = newMetrics(s.memory)
	for _, c := range append(s.metrics.collectors(), &exposition{service: s}) {
		if err := deps.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of telemetry: %w", err)
		}
	}
	return s, nil
}

// Register adds the RPCs: any workload reports, the gateway and the other replicas ask.
func (s *Service) Register(r *rpc.Registrar) {
	telemetrypb.RegisterTelemetryServiceServer(r, s)
	r.Allow(telemetrypb.TelemetryService_Report_FullMethodName, rpc.Workloads())
	r.Allow(telemetrypb.TelemetryService_QueryEdges_FullMethodName, rpc.Services("gateway", "telemetry"))
}

// Run forgets what is too old until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Sweep)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.memory.sweep(s.deps.Now())
		case <-ctx.Done():
			return nil
		}
	}
}

// Ready is always so: there is nothing to wait for.
func (s *Service) Ready() error { return nil }
