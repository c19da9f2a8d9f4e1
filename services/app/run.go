package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/embedkv"
	"github.com/weft-mesh/weft/services/internal/selfid"
)

// Process is a list of services with what they share.
type Process struct {
	// Settings are validated; the process works on a copy, in which it fills in the ports that it got.
	Settings *Settings
	// Log is the process's logger.
	Log *zap.Logger
	// Builds are the services, in the order in which they start; they stop in reverse.
	Builds []Build
	// Ready is called once, when every service is ready for the first time, with where they listen. It must not block.
	Ready func(Ports)
}

// Run runs services until ctx ends, and then drains them.
func Run(ctx context.Context, s *Settings, log *zap.Logger, builds ...Build) error {
	return Process{Settings: s, Log: log, Builds: builds}.Run(ctx)
}

// process is a Process while it runs.
type process struct {
	Process
	trustDomain spiffeid.TrustDomain
	store       kv.Store
	replica     string
	units       []*unit
	bundled     atomic.Bool
	deadline    func() time.Time // end of the drain, counted from the first one who asks
}

// Run runs the process until ctx ends or something fails.
func (p Process) Run(ctx context.Context) (err error) {
	if len(p.Builds) == 0 {
		return errors.New("no services to run")
	}
	td, err := spiffeid.TrustDomainFromString(p.Settings.TrustDomain)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "trust domain %q", p.Settings.TrustDomain)
	}
	p.Settings = p.Settings.clone()
	for _, dir := range []string{p.Settings.DataDir, p.Settings.RunDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	store, closeStore, err := openStore(ctx, p.Settings, p.Log)
	if err != nil {
		if ctx.Err() != nil { // asked to stop before it was up
			return nil
		}
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	drain := p.Settings.Drain
	r := &process{
		Process: p, trustDomain: td, store: store, replica: replicaName(),
		deadline: sync.OnceValue(func() time.Time { return time.Now().Add(drain) }),
	}
	defer r.close()
	if err := r.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	p.Log.Debug("settings", zap.Any("settings", p.Settings)) // they name files of secrets and hold none
	ports := r.ports()
	removePorts, err := writePorts(p.Settings.RunDir, ports)
	if err != nil {
		return err
	}
	defer removePorts()
	return r.serve(ctx, ports)
}

// prepare binds every port and builds every service; nothing runs yet. Ports come first, so that the addresses that
// services are told are those that will answer.
func (p *process) prepare(ctx context.Context) error {
	for _, b := range p.Builds {
		u, err := p.listen(ctx, b)
		if err != nil {
			return err
		}
		p.units = append(p.units, u)
	}
	issuer, err := p.issuer(ctx)
	if err != nil {
		return err
	}
	for _, u := range p.units {
		if err := u.assemble(); err != nil {
			return err
		}
		if err := p.keep(u, issuer); err != nil {
			return err
		}
	}
	return nil
}

// issuer is what signs this process's SVIDs: identity when it is here, else nil.
func (p *process) issuer(ctx context.Context) (selfid.Issuer, error) {
	for _, u := range p.units {
		if u.build.Issuer == nil {
			continue
		}
		issuer, err := u.build.Issuer(ctx, u.env)
		if err != nil {
			return nil, fmt.Errorf("open the authority of %s: %w", u.name, err)
		}
		return issuer, nil
	}
	return nil, nil
}

// serve runs all parts. The order is the order of dependence: what comes last stops first, so that a stopping process says
// that it is not ready, leaves its peers' lists, drains its servers from the gateway inwards, and only then stops what the
// servers need.
func (p *process) serve(ctx context.Context, ports Ports) error {
	var g lifecycle.Group
	for _, u := range p.units {
		g.Add(u.name+" admin pages", u.serveAdmin)
		g.Add(u.name+" SVID", u.keeper.Run)
	}
	g.Add("bundle file", p.writeBundle)
	if store, ok := p.store.(*embedkv.Store); ok {
		g.Add("backups", func(ctx context.Context) error { return p.offerBackups(ctx, store) })
	}
	for _, u := range p.units {
		g.Add(u.name+" peers", u.peers.watch)
		g.Add(u.name, u.service.Run)
		g.Add(u.name+" gRPC", func(ctx context.Context) error { return u.serveRPC(ctx, p.deadline) })
	}
	for _, u := range p.units {
		g.Add(u.name+" announcement", u.announce)
	}
	g.Add("readiness", func(ctx context.Context) error { return p.watchReadiness(ctx, ports) })
	err := g.Run(ctx)
	if err == nil && ctx.Err() == nil {
		return errors.New("a part of the process ended although nothing had asked it to")
	}
	return err
}

// Readiness is asked often until all are ready for the first time, because people wait for that.
const (
	readinessStart = 20 * time.Millisecond
	readinessEvery = 250 * time.Millisecond
)

// watchReadiness tells health checks what the services say, and the process's owner once all are ready.
func (p *process) watchReadiness(ctx context.Context, ports Ports) error {
	tick := time.NewTicker(readinessStart)
	defer tick.Stop()
	waiting := true
	for {
		all := true
		for _, u := range p.units {
			err := u.ready()
			u.server.SetServing(err == nil)
			u.logReadiness(err)
			all = all && err == nil
		}
		if all && waiting {
			waiting = false
			tick.Reset(readinessEvery)
			p.Log.Info("ready", zap.Strings("services", p.names()), zap.String("replica", p.replica))
			if p.Ready != nil {
				p.Ready(ports)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			for _, u := range p.units {
				u.draining.Store(true)
				u.server.SetServing(false)
			}
			return nil
		}
	}
}

func (p *process) names() []string {
	var names []string
	for _, u := range p.units {
		names = append(names, u.name)
	}
	return names
}

func (p *process) close() {
	for _, u := range p.units {
		u.close()
	}
}

// replicaName is unique among the processes that share a store, and says on which machine to look.
func replicaName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "replica"
	}
	return host + "-" + strings.ToLower(rand.Text()[:8])
}
