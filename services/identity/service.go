package identity

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/resource"
)

// DefaultGrace is how long a root that is not the first waits for a distributor that does not answer.
const DefaultGrace = 15 * time.Second

// DefaultJoinTokenTTL is how long a join token works when its maker says nothing.
const DefaultJoinTokenTTL = 10 * time.Minute

// Config of the service.
type Config struct {
	// JoinTokenTTL is how long a join token works when its maker says nothing; 0: DefaultJoinTokenTTL.
	JoinTokenTTL time.Duration
	// Grace is how long a root that is not the first waits for a distributor that does not answer; 0: DefaultGrace.
	Grace time.Duration
	// AdminTokenFile is where the first administrator's token of a new store is written.
	AdminTokenFile string
}

func (c Config) withDefaults() (Config, error) {
	if c.JoinTokenTTL == 0 {
		c.JoinTokenTTL = DefaultJoinTokenTTL
	}
	if c.Grace == 0 {
		c.Grace = DefaultGrace
	}
	var errs []error
	if c.JoinTokenTTL < minJoinTokenTTL || c.JoinTokenTTL > maxJoinTokenTTL {
		errs = append(errs, fmt.Errorf("join token lifetime %s is not between %s and %s", c.JoinTokenTTL, minJoinTokenTTL, plain(maxJoinTokenTTL)))
	}
	if c.Grace < 0 {
		errs = append(errs, fmt.Errorf("grace %s is below zero", c.Grace))
	}
	if c.AdminTokenFile == "" {
		errs = append(errs, errors.New("file of the first administrator's token is not set"))
	}
	return c, errors.Join(errs...)
}

// Deps are what the service works with.
type Deps struct {
	// Log is named after the service.
	Log *zap.Logger
	// Store is identity's own part of the store.
	Store kv.Store
	// Trust is this replica's authority and the bundle.
	Trust *Trust
	// Convergence tells whether a bundle has reached the mesh; nil when there is nobody to ask.
	Convergence Convergence
	// Addresses of the control plane, for join tokens. Called when a token is minted.
	Addresses func() jointoken.Addresses
	// Gateway is where hosts will find the gateway, host:port of each replica; nil when nobody knows. Called when asked for.
	Gateway func() []string
	// Metrics is where the collectors are registered.
	Metrics prometheus.Registerer
}

// Service is the identity service.
type Service struct {
	identitypb.UnimplementedIdentityServiceServer

	cfg          Config
	log          *zap.Logger
	store        kv.Store
	trust        *Trust
	addresses    func() jointoken.Addresses
	gateway      func() []string
	distribution *distribution
	joinTokens   joinTokens
	adminTokens  adminTokens
	bindings     *resource.Resource[model.RoleBinding, *identitypb.RoleBinding]
	metrics      *metrics
	started      atomic.Bool // the first administrator's token has been seen to
}

// New checks and returns the service; Run starts it.
func New(cfg Config, deps Deps) (*Service, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configure identity: %w", err)
	}
	d := &distribution{
		trust: deps.Trust, convergence: deps.Convergence, grace: cfg.Grace, log: deps.Log, why: "it has not begun",
	}
	m, err := newMetrics(deps.Metrics, deps.Trust.authority.NotAfter, func() bool { return d.check() == nil })
	if err != nil {
		return nil, fmt.Errorf("register metrics of identity: %w", err)
	}
	return &Service{
		cfg:          cfg,
		log:          deps.Log,
		store:        deps.Store,
		trust:        deps.Trust,
		addresses:    deps.Addresses,
		gateway:      deps.Gateway,
		distribution: d,
		joinTokens:   joinTokens{store: deps.Store, td: deps.Trust.td},
		adminTokens:  adminTokens{store: deps.Store},
		bindings:     newBindings(deps.Store),
		metrics:      m,
	}, nil
}

// Run keeps the bundle in step with the store, distributes this replica's root, makes the first administrator's token of a
// new store, and removes what has expired, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	var group lifecycle.Group
	group.Add("bundle", s.trust.Run)
	group.Add("distribution", s.distribution.run)
	group.Add("first token", s.firstToken)
	group.Add("sweep", s.sweep)
	return group.Run(ctx)
}

// Ready says why the service cannot answer yet, or nil. A root that is still being distributed is no reason: only issuing
// waits for it, with UNAVAILABLE, while bundles must flow from here too, or the root would never become known.
func (s *Service) Ready() error {
	if _, err := s.anchors(); err != nil {
		return err
	}
	if !s.started.Load() {
		return errors.New("the first administrator's token has not been seen to yet")
	}
	return nil
}

func (s *Service) firstToken(ctx context.Context) error {
	retry := backoff.New(50*time.Millisecond, 2*time.Second)
	for ctx.Err() == nil {
		made, err := s.adminTokens.ensureFirst(ctx, s.cfg.AdminTokenFile)
		if err == nil {
			if made {
				s.log.Info("first administrator's token written", zap.String("file", s.cfg.AdminTokenFile))
			}
			s.started.Store(true)
			<-ctx.Done()
			break
		}
		s.log.Warn("first administrator's token cannot be made yet", zap.Error(err))
		if retry.Wait(ctx) != nil {
			break
		}
	}
	return nil
}
