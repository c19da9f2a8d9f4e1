package intake

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/model"
)

// Config says how patient to be.
type Config struct {
	// Quiet is how long nothing may happen before a world is handed out; Longest bounds the wait when something always does.
	Quiet   time.Duration
	Longest time.Duration
	// Retry is the longest first pause after a source was lost, RetryLimit the longest one ever.
	Retry      time.Duration
	RetryLimit time.Duration
}

// Default is for production.
func Default() Config {
	return Config{Quiet: 3 * time.Millisecond, Longest: 50 * time.Millisecond, Retry: 50 * time.Millisecond, RetryLimit: 3 * time.Second}
}

// Observer counts; it must not block.
type Observer interface {
	// SourceConnected says whether a source is being followed now.
	SourceConnected(source string, yes bool)
	// SourceReset says that a source had to send everything again.
	SourceReset(source string)
	// ObjectRejected says that an object could not be read.
	ObjectRejected(kind string)
}

// Deps is what intake works with.
type Deps struct {
	Policy    policypb.PolicyServiceClient
	Discovery discoverypb.DiscoveryServiceClient
	Identity  identitypb.IdentityServiceClient
	// Publish receives complete worlds, one after the other, never two at once.
	Publish  func(*compile.World)
	Observer Observer
	Log      *zap.Logger
}

// Intake follows the sources.
type Intake struct {
	cfg   Config
	deps  Deps
	world *world
	wake  chan struct{} // something was committed
}

// New makes an intake that knows nothing yet.
func New(cfg Config, deps Deps) *Intake {
	return &Intake{cfg: cfg, deps: deps, world: &world{}, wake: make(chan struct{}, 1)}
}

// Run follows the sources and hands out worlds until ctx ends.
func (i *Intake) Run(ctx context.Context) error {
	var g lifecycle.Group
	g.Add("publish", i.publish)
	for _, s := range []*source{
		{id: model.SourcePolicy, name: "policy", open: policyFeed(i.deps.Policy)},
		{id: model.SourceDiscovery, name: "discovery", open: discoveryFeed(i.deps.Discovery)},
		{id: model.SourceIdentity, name: "identity", open: identityFeed(i.deps.Identity), whole: true},
	} {
		s.intake = i
		g.Add(s.name, s.run)
	}
	return g.Run(ctx)
}

// Ready names the sources that have not given a first complete state, or returns nil.
func (i *Intake) Ready() error {
	missing := i.world.missing()
	if len(missing) == 0 {
		return nil
	}
	return errors.New("no complete state yet from " + strings.Join(missing, ", "))
}

// publish hands out a world when something was committed and it is quiet, or has been noisy for long enough. Between two
// worlds it rests twice as long as the first one took, so that in a large mesh where something changes all the time more goes
// together, and sidecars are served meanwhile; a change that comes alone never waits for that.
func (i *Intake) publish(ctx context.Context) error {
	var rested time.Time
	for {
		select {
		case <-i.wake:
		case <-ctx.Done():
			return nil
		}
		i.settle(ctx)
		if err := backoff.Sleep(ctx, time.Until(rested)); err != nil {
			return nil //nolint:nilerr // ctx has ended
		}
		if w := i.world.snapshot(); w != nil {
			began := time.Now()
			i.deps.Publish(w)
			rested = time.Now().Add(min(2*time.Since(began), i.cfg.Longest))
		}
	}
}

func (i *Intake) settle(ctx context.Context) {
	quiet := time.NewTimer(i.cfg.Quiet)
	defer quiet.Stop()
	longest := time.NewTimer(i.cfg.Longest)
	defer longest.Stop()
	for {
		select {
		case <-i.wake:
			quiet.Reset(i.cfg.Quiet)
		case <-quiet.C:
			return
		case <-longest.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (i *Intake) committed() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}
