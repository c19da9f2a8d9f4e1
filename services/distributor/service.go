package distributor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/distributor/fanout"
	"github.com/weft-mesh/weft/services/distributor/intake"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// Config holds the settings of the service.
type Config struct {
	Intake intake.Config
	Fanout fanout.Config
	// PeerTimeout is how long another replica may take to answer.
	PeerTimeout time.Duration
}

// Default is what a Config is unless somebody says otherwise.
func Default() Config {
	return Config{Intake: intake.Default(), Fanout: fanout.Default(), PeerTimeout: 2 * time.Second}
}

// Deps are what the service needs of its process.
type Deps struct {
	Log     *zap.Logger
	Metrics prometheus.Registerer
	// Replica is this replica's name.
	Replica string
	Peers   rpc.Peers
	// Now is the clock.
	Now func() time.Time
	// The three sources.
	Policy    policypb.PolicyServiceClient
	Discovery discoverypb.DiscoveryServiceClient
	Identity  identitypb.IdentityServiceClient
}

// Service is the distributor.
type Service struct {
	configpb.UnimplementedConfigServiceServer
	cfg     Config
	deps    Deps
	hub     *fanout.Hub
	intake  *intake.Intake
	metrics *metrics
	trim    *trimmer
	state   *compile.State // the last one compiled; only publish touches it
}

var _ configpb.ConfigServiceServer = (*Service)(nil)

// New makes the service.
func New(cfg Config, deps Deps) (*Service, error) {
	s := &Service{cfg: cfg, deps: deps, metrics: newMetrics(), trim: newTrimmer()}
	s.hub = fanout.New(cfg.Fanout, fanout.Deps{
		Observer: observer{s.metrics, s.trim},
		Log:      deps.Log.Named("fanout"),
		Now:      deps.Now,
		Replica:  deps.Replica,
		Peers:    func() int { return len(deps.Peers.List()) },
	})
	s.intake = intake.New(cfg.Intake, intake.Deps{
		Policy:    deps.Policy,
		Discovery: deps.Discovery,
		Identity:  deps.Identity,
		Publish:   s.publish,
		Observer:  s.metrics,
		Log:       deps.Log.Named("intake"),
	})
	for _, c := range s.metrics.collectors(s.hub.Behind) {
		if err := deps.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of the distributor: %w", err)
		}
	}
	return s, nil
}

// Register adds the RPCs: any workload may open a stream (for itself, which the stream checks), the gateway, identity and the
// other replicas ask who has applied what.
func (s *Service) Register(r *rpc.Registrar) {
	configpb.RegisterConfigServiceServer(r, s)
	configpb.RegisterConvergenceServiceServer(r, &convergence{service: s})
	r.Allow(configpb.ConfigService_Stream_FullMethodName, rpc.Workloads())
	r.Leaves(configpb.ConfigService_Stream_FullMethodName)
	r.AllowService(&configpb.ConvergenceService_ServiceDesc, rpc.Services("gateway", "identity", "distributor"))
}

// Stream serves one sidecar.
func (s *Service) Stream(stream configpb.ConfigService_StreamServer) error {
	return s.hub.Stream(stream)
}

// Run follows the sources until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	var g lifecycle.Group
	g.Add("intake", s.intake.Run)
	g.Add("trim", s.trim.run)
	return g.Run(ctx)
}

// Ready says what is missing to a first complete state.
func (s *Service) Ready() error {
	if err := s.intake.Ready(); err != nil {
		return err
	}
	if len(s.hub.Vector().Revisions()) == 0 {
		return errors.New("nothing compiled yet")
	}
	return nil
}

// publish compiles a world and hands the result to the streams. Intake calls it for one world at a time.
func (s *Service) publish(w *compile.World) {
	started := s.deps.Now()
	s.state = compile.Next(s.state, w)
	s.metrics.compiled(s.deps.Now().Sub(started))
	s.hub.Publish(s.state)
}
