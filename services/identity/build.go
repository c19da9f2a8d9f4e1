package identity

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/backoff"
	"github.com/weft-mesh/weft/internal/spiffe/jointoken"
	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/identity/ca/builtin"
	"github.com/weft-mesh/weft/services/internal/selfid"
)

// Build makes the service out of what a process lends. The issuer of the process and the service share one authority, so that
// each Build is for one process.
func Build() app.Build {
	b := &build{}
	return app.Build{Name: app.Identity, New: b.service, Issuer: b.issuer}
}

type build struct {
	trust *Trust
}

// issuer opens the authority and publishes its root. It waits for a store that is not there yet.
func (b *build) issuer(ctx context.Context, env *app.Env) (selfid.Issuer, error) {
	trust, err := b.open(env)
	if err != nil {
		return nil, err
	}
	retry := backoff.New(50*time.Millisecond, 2*time.Second)
	for {
		err := trust.Publish(ctx)
		if err == nil {
			return NewProcessIssuer(trust), nil
		}
		env.Log.Warn("root cannot be published yet", zap.Error(err))
		if retry.Wait(ctx) != nil {
			return nil, fmt.Errorf("prepare the issuer of this process: %w", err)
		}
	}
}

func (b *build) service(env *app.Env) (app.Service, error) {
	trust, err := b.open(env)
	if err != nil {
		return nil, err
	}
	distributor, err := env.Dial(app.Distributor)
	if err != nil {
		return nil, fmt.Errorf("dial distributor: %w", err)
	}
	set := env.Settings
	return New(Config{
		JoinTokenTTL:   set.Identity.JoinTokenTTL,
		AdminTokenFile: filepath.Join(set.DataDir, "admin.token"),
	}, Deps{
		Log:         env.Log,
		Store:       env.Store,
		Trust:       trust,
		Convergence: NewConvergence(distributor),
		Metrics:     env.Metrics,
		Gateway:     func() []string { return set.AddressesOf(app.Gateway) },
		Addresses: func() jointoken.Addresses {
			return jointoken.Addresses{
				Identity:    set.AddressesOf(app.Identity),
				Discovery:   set.AddressesOf(app.Discovery),
				Distributor: set.AddressesOf(app.Distributor),
				Telemetry:   set.AddressesOf(app.Telemetry),
			}
		},
	})
}

// open makes the Trust once; the process calls issuer before service.
func (b *build) open(env *app.Env) (*Trust, error) {
	if b.trust != nil {
		return b.trust, nil
	}
	td, err := spiffeid.TrustDomainFromString(env.Settings.TrustDomain)
	if err != nil {
		return nil, fmt.Errorf("trust domain %q: %w", env.Settings.TrustDomain, err)
	}
	authority, err := builtin.Open(builtin.Config{
		Dir: filepath.Join(env.Settings.DataDir, "ca"), TrustDomain: td, LeafTTL: env.Settings.Identity.SVIDTTL,
	})
	if err != nil {
		return nil, err
	}
	b.trust = NewTrust(TrustConfig{
		TrustDomain: td, Authority: authority, Store: env.Store, Replica: env.Replica, TTL: env.Settings.Identity.SVIDTTL, Log: env.Log,
	})
	return b.trust, nil
}
