package proxy

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/buildinfo"
	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/proxy/internal/admin"
	"github.com/weft-mesh/weft/proxy/internal/names"
	"github.com/weft-mesh/weft/proxy/internal/netspace"
	"github.com/weft-mesh/weft/proxy/internal/observe"
	"github.com/weft-mesh/weft/proxy/internal/register"
	"github.com/weft-mesh/weft/proxy/internal/snapshot"
	"github.com/weft-mesh/weft/proxy/internal/statedir"
	"github.com/weft-mesh/weft/proxy/internal/subscribe"
	"github.com/weft-mesh/weft/proxy/internal/svid"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/tenure"
	"github.com/weft-mesh/weft/proxy/internal/uplink"
)

// Proxy is a sidecar that has not started.
type Proxy struct {
	cfg Config
	log *zap.Logger
}

// New checks the configuration; it opens nothing.
func New(cfg Config, log *zap.Logger) (*Proxy, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Proxy{cfg: cfg, log: log}, nil
}

// Run is the sidecar's life. It returns nil after ctx has ended and everything in flight has come to its end.
func (p *Proxy) Run(ctx context.Context) error {
	path, err := p.cfg.stateDir()
	if err != nil {
		return err
	}
	from, dir, err := p.open(ctx, path)
	if err != nil {
		return err
	}
	defer from.close()
	defer dir.Close()
	s, err := p.assemble(dir, from)
	if err != nil {
		from.refuse(err)
		return err
	}
	defer s.listeners.close()
	p.log.Info("sidecar starts",
		zap.String("namespace", p.cfg.Namespace), zap.String("workload", p.cfg.Workload), zap.Strings("services", p.cfg.Services),
		zap.Stringer("mesh", s.listeners.mesh.Addr()), zap.Stringer("admin", s.listeners.admin.Addr()),
		zap.String("state_dir", path), zap.String("version", buildinfo.Version()))
	return s.run(ctx)
}

// open opens the state directory, or takes it over with everything else.
func (p *Proxy) open(ctx context.Context, path string) (*inheritance, *statedir.Dir, error) {
	if !p.cfg.TakeOver {
		dir, err := statedir.Open(path)
		return nil, dir, err
	}
	limit, cancel := context.WithTimeout(ctx, p.cfg.Upgrade.Timeout)
	defer cancel()
	from, err := takeOver(limit, path)
	if err != nil {
		return nil, nil, fmt.Errorf("take over: %w", err)
	}
	return from, from.dir(path), nil
}

// sidecar is the parts of a running proxy.
type sidecar struct {
	cfg       Config
	log       *zap.Logger
	dir       *statedir.Dir
	from      *inheritance // nil: this process was the first
	tenure    *tenure.Tenure
	space     *netspace.Space // where the app is
	identity  *svid.Manager
	tables    *table.Holder
	listeners *listeners
	config    *subscribe.Client
	registrar *register.Registrar
	recorder  *observe.Recorder
	reporter  *observe.Reporter
	accessLog *observe.AccessLog
	traffic   *traffic
	settling  *settling
	names     *names.File // nil: the app resolves names otherwise

	succession *succession
}

// assemble makes the parts, from the state directory first: what is stored works without a control plane.
func (p *Proxy) assemble(dir *statedir.Dir, from *inheritance) (_ *sidecar, err error) {
	s := &sidecar{cfg: p.cfg, log: p.log, dir: dir, from: from, tenure: tenure.New(), tables: &table.Holder{}, settling: newSettling()}
	if s.space, err = p.cfg.space(); err != nil {
		return nil, err
	}
	identity := svid.Config{Namespace: p.cfg.Namespace, Workload: p.cfg.Workload, TokenText: p.cfg.JoinToken, Addresses: p.cfg.Addresses}
	if s.identity, err = svid.Open(identity, dir, p.log.Named("svid")); err != nil {
		return nil, err
	}
	if err := s.controlPlane(dir); err != nil {
		return nil, err
	}
	if err := s.config.Restore(); err != nil {
		// What is stored is a help, not a condition: with a control plane all of it comes anew.
		p.log.Warn("stored configuration is not used: requests are answered not_ready until the distributor is reached, which sends all of it",
			zap.String("file", dir.Path(statedir.Snapshot)), zap.Error(err))
	}
	if s.listeners, err = listen(p.cfg, s.space, dir, from, p.log); err != nil {
		return nil, err
	}
	if err := s.data(); err != nil {
		s.listeners.close()
		return nil, err
	}
	return s, nil
}

// link makes a link to a service of the control plane.
func (s *sidecar) link(service string, addresses []string) (*uplink.Link, error) {
	connect, err := uplink.SPIFFE(s.identity.Source(), s.identity.TrustDomain(), service)
	if err != nil {
		return nil, err
	}
	ready := func(ctx context.Context) error {
		_, err := s.identity.Source().Wait(ctx)
		return err
	}
	return uplink.New(uplink.Config{Service: service, Addresses: addresses, Connect: connect, Ready: ready}, s.log.Named("uplink"))
}

// controlPlane makes the parts that talk with the control plane, but for the registration, which needs the mesh port.
func (s *sidecar) controlPlane(dir *statedir.Dir) error {
	distributor, err := s.link("distributor", s.identity.Addresses().Distributor)
	if err != nil {
		return err
	}
	s.config = subscribe.New(subscribe.Config{
		Owner:        snapshot.Owner{TrustDomain: s.identity.TrustDomain(), Namespace: s.cfg.Namespace, Workload: s.cfg.Workload, Strict: s.cfg.MTLS == "strict"},
		Services:     upstreamServices(s.cfg.Upstreams),
		BuildVersion: buildinfo.Version(),
		MaxAge:       s.cfg.MaxConfigAge,
	}, subscribe.Deps{
		Link: distributor, Dir: dir, Holder: s.tables, OnBundle: s.identity.SetBundle, Expiry: s.identity.Expiry, Log: s.log.Named("subscribe"),
	})
	if s.cfg.AccessLog != nil {
		s.accessLog = observe.NewAccessLog(s.cfg.AccessLog, s.cfg.AccessLogSample)
	}
	s.recorder = observe.New(observe.Config{
		Namespace: s.cfg.Namespace, Workload: s.cfg.Workload, Version: s.cfg.Labels["version"], Source: s.identity.Source(), AccessLog: s.accessLog,
	})
	if addresses := s.identity.Addresses().Telemetry; len(addresses) > 0 { // a mesh without telemetry is a mesh
		telemetry, err := s.link("telemetry", addresses)
		if err != nil {
			return err
		}
		s.reporter = observe.NewReporter(s.recorder, telemetry)
	}
	return nil
}

func upstreamServices(upstreams []Upstream) []string {
	var names []string
	for _, u := range upstreams {
		names = append(names, u.Service())
	}
	return names
}

// data makes what carries traffic, and what says that it can.
func (s *sidecar) data() error {
	workload, err := s.workload()
	if err != nil {
		return err
	}
	discovery, err := s.link("discovery", s.identity.Addresses().Discovery)
	if err != nil {
		return err
	}
	var probes []register.Probe
	if len(s.cfg.Services) > 0 && s.cfg.streams() {
		probes = append(probes, register.Probe{Port: s.cfg.AppPort, Ready: register.Accepts(s.space.Dial)})
	}
	if len(s.cfg.Services) > 0 && s.cfg.datagrams() {
		probes = append(probes, register.Probe{Port: s.cfg.AppPort, Ready: bound(s.space)})
	}
	s.registrar = register.New(register.Config{Workload: workload, Probes: probes, Held: s.from != nil && s.from.registered}, discovery, s.log.Named("register"))
	s.traffic = newTraffic(s)
	if s.from != nil {
		s.traffic.in.Inherit(s.from.keys)
	}
	s.succession = newSuccession(s)
	if c := s.cfg.Capture; c.HostsFile != "" {
		s.names = names.New(names.Config{Path: c.HostsFile, Base: c.HostsBase, Namespace: s.cfg.Namespace, Tables: s.tables}, s.log.Named("names"))
	}
	return nil
}

// run starts the parts, each after those that it needs. They stop in the reverse order: first the workload leaves the
// catalogue, then what comes in ends, then what the app still calls, then everything that serves these. After a handover the
// parts that belong to the tenure have stopped, and both directions of traffic end by themselves.
func (s *sidecar) run(ctx context.Context) error {
	var g lifecycle.Group
	if s.accessLog != nil {
		g.Add("access log", s.accessLog.Run)
	}
	g.Add("admin", s.tenure.During(s.admin().Run))
	g.Add("svid", s.succession.identity.Run)
	g.Add("config", s.succession.config.Run)
	g.Add("follow", s.follow)
	if s.reporter != nil {
		g.Add("telemetry", s.reporter.Run)
	}
	if s.names != nil {
		g.Add("names", s.tenure.During(s.names.Run))
	}
	g.Add("outbound", s.traffic.runOutbound)
	g.Add("inbound", s.traffic.runInbound)
	g.Add("departure", s.departure)
	g.Add("registration", s.tenure.During(s.registration))
	g.Add("upgrades", s.succession.Run)
	g.Add("accession", s.accession)
	err := g.Run(ctx)
	s.log.Info("sidecar ended", zap.Error(err))
	return err
}

func (s *sidecar) admin() *admin.Server {
	return admin.New(s.listeners.admin, admin.Deps{
		Started: s.started, Ready: s.ready, Metrics: s.recorder.Metrics(s.health), Dump: s.dump, Flows: s.flows,
		Deregister: s.registrar.Deregister, Log: s.log.Named("admin"),
	})
}
