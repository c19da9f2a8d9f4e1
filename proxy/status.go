package proxy

import (
	"errors"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/buildinfo"
	"github.com/weft-mesh/weft/proxy/internal/admin"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/identity"
	"github.com/weft-mesh/weft/proxy/internal/limit"
	"github.com/weft-mesh/weft/proxy/internal/observe"
	"github.com/weft-mesh/weft/proxy/internal/uplink"
)

// started is nil once a program may be started: it is configured, and the program will find the others' names.
func (s *sidecar) started() error {
	if err := s.configured(); err != nil {
		return err
	}
	if s.names != nil && !s.names.Written() {
		return errors.New("the program's file of names is not written yet; see the sidecar's log")
	}
	return nil
}

// configured is nil once there are an identity and a first table that is the newest, as far as anyone can tell.
func (s *sidecar) configured() error {
	if s.identity.Source().Load() == nil {
		return errors.New("no identity yet: the join token has not been redeemed; see the sidecar's log")
	}
	if s.tables.Load() == nil {
		return fmt.Errorf("no configuration yet: %s", linkText(s.config.Status().Link))
	}
	status := s.config.Status()
	return s.settling.check(status.Current, status.Link.Err != "")
}

// ready is nil once requests can come, too.
func (s *sidecar) ready() error {
	if err := s.started(); err != nil {
		return err
	}
	if end := s.identity.Expiry(); !time.Now().Before(end) {
		return fmt.Errorf("the identity ran out at %s: start this sidecar with a new join token", end.Format(time.RFC3339))
	}
	if len(s.cfg.Services) == 0 {
		return nil
	}
	status := s.registrar.Status()
	switch {
	case status.Gone:
		return errors.New("the workload has been deregistered")
	case !status.AppReady:
		return s.appNotReady()
	case status.Err != "":
		return fmt.Errorf("discovery refuses this workload: %s", status.Err)
	case !status.Registered:
		return fmt.Errorf("the workload is not registered yet: %s", linkText(s.registrar.Link()))
	}
	return nil
}

func (s *sidecar) appNotReady() error {
	if s.cfg.streams() {
		return fmt.Errorf("the app does not accept connections on port %d yet", s.cfg.AppPort)
	}
	return fmt.Errorf("the app has not bound port %d of UDP yet", s.cfg.AppPort)
}

func linkText(l uplink.Status) string {
	switch {
	case l.Connected:
		return "connected to " + l.Address
	case l.Err != "":
		return l.Err
	default:
		return "not connected to the control plane"
	}
}

func (s *sidecar) links() map[string]uplink.Status {
	links := map[string]uplink.Status{"distributor": s.config.Status().Link, "discovery": s.registrar.Link()}
	if s.reporter != nil {
		links["telemetry"] = s.reporter.Link()
	}
	return links
}

func (s *sidecar) health() observe.Health {
	status := s.config.Status()
	h := observe.Health{
		Connected:       map[string]bool{},
		ConfigConfirmed: status.Confirmed,
		SVIDExpiry:      s.identity.Expiry(),
		ConfigUpdates:   status.Updates,
		ConfigReopened:  status.Reopened,
		ConfigRefused:   len(status.Refused),
		IndexServices:   status.IndexSize,
		Handshakes: map[string]map[string]uint64{
			"inbound": handshakes(s.traffic.in.Handshakes()), "outbound": handshakes(s.traffic.out.Handshakes()),
		},
	}
	h.Datagrams = map[string]observe.Datagrams{
		"inbound": datagramsOf(s.traffic.in.Datagrams()), "outbound": datagramsOf(s.traffic.out.Datagrams()),
	}
	h.Refused = map[string]map[string]uint64{"inbound": refused(s.traffic.in.Guard()), "outbound": refused(s.traffic.out.Guard())}
	h.Buffered = map[string]int64{"inbound": s.traffic.in.Buffered(), "outbound": s.traffic.out.Buffered()}
	pool := s.traffic.out.Connections()
	h.Connections = map[string]uint64{"dialled": pool.Dialled.Load(), "reused": pool.Reused.Load(), "stale": pool.Stale.Load()}
	for service, link := range s.links() {
		h.Connected[service] = link.Connected
	}
	return h
}

// flows are what is under way in both directions.
func (s *sidecar) flows() []flow.Live { return append(s.traffic.in.Flows(), s.traffic.out.Flows()...) }

func handshakes(c *identity.Counters) map[string]uint64 {
	return map[string]uint64{"full": c.Full.Load(), "resumed": c.Resumed.Load(), "failed": c.Failed.Load()}
}

func refused(g *limit.Guard) map[string]uint64 {
	counts := map[string]uint64{}
	for _, name := range limit.Names() {
		counts[name.String()] = g.Refused(name)
	}
	return counts
}

func (s *sidecar) dump() admin.Dump {
	status, registration := s.config.Status(), s.registrar.Status()
	d := admin.Dump{
		Namespace: s.cfg.Namespace, Workload: s.cfg.Workload, TrustDomain: s.identity.TrustDomain().Name(),
		SVIDExpiry: s.identity.Expiry(), Version: buildinfo.Version(), Links: s.links(),
		Current: status.Current, Confirmed: status.Confirmed, Sequence: status.Sequence, IndexSize: status.IndexSize,
		Services: status.Services, Vector: status.Vector, Resources: status.Resources, Refused: status.Refused,
		Registered: registration.Revision, RegisterError: registration.Err,
	}
	if m := s.identity.Source().Load(); m != nil {
		d.SPIFFEID = m.ID.String()
	}
	return d
}
