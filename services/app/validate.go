package app

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/services/internal/fault"
)

// Validate reports every problem of the settings at once, as an Invalid fault.
func (s *Settings) Validate() error {
	var p problems
	if _, err := spiffeid.TrustDomainFromString(s.TrustDomain); err != nil {
		p.add("trust-domain", "%q is no trust domain: %v", s.TrustDomain, err)
	}
	for key, dir := range map[string]string{"data-dir": s.DataDir, "run-dir": s.RunDir} {
		if !filepath.IsAbs(dir) {
			p.add(key, "%q is no absolute path", dir)
		}
	}
	s.validateNetwork(&p)
	s.validateStore(&p)
	s.validateTimes(&p)
	s.validateGateway(&p)
	p.oneOf("log-level", s.Log.Level, "debug", "info", "warn", "error")
	p.oneOf("log-format", s.Log.Format, "auto", "json", "console")
	slices.SortFunc(p, func(a, b fault.Field) int { return strings.Compare(a.Path, b.Path) })
	return fault.InvalidFields("configuration", p)
}

func (s *Settings) validateNetwork(p *problems) {
	if s.Listen.Host == "" {
		p.add("listen", "is empty; 127.0.0.1 listens on this machine only, 0.0.0.0 on all addresses")
	}
	if a := s.Listen.Advertise; a != "" {
		if ip := net.ParseIP(a); strings.ContainsAny(a, "[]/ ") || ip == nil && strings.Contains(a, ":") || ip != nil && ip.IsUnspecified() {
			p.add("advertise", "%q is neither an IP address nor a host name", a)
		}
	}
	taken := map[int]string{}
	port := func(key string, n int) {
		if n < 0 || n > 65535 {
			p.add(key, "%d is no port; 0 to 65535 are", n)
			return
		}
		if other, ok := taken[n]; ok && n != 0 {
			p.add(key, "%d is taken by %s", n, other)
		}
		taken[n] = key
	}
	for _, service := range Names() {
		n := *s.Listen.Port(service)
		port(service+"-port", n)
		if n != 0 {
			port(service+"-port (+100, health and metrics)", n+adminOffset)
		}
		for _, addr := range *s.Addresses.list(service) {
			if !isHostPort(addr) {
				p.add(service+"-address", "%q is not host:port", addr)
			}
		}
	}
	port("gateway-rest-port", s.Listen.GatewayREST)
	p.oneOf("gateway-tls", s.Listen.GatewayTLS, "auto", "on", "off")
}

func (s *Settings) validateStore(p *problems) {
	p.oneOf("store", s.StoreKind(), StoreEmbed, StoreEtcd, StoreMem)
	switch kind := s.StoreKind(); {
	case kind == StoreEtcd && len(s.Store.Endpoints) == 0:
		p.add("etcd-endpoints", "is empty; store %q needs at least one", kind)
	case kind != StoreEtcd && len(s.Store.Endpoints) > 0:
		p.add("store", "is %q although etcd-endpoints are given; leave it out or say %q", kind, StoreEtcd)
	}
	if (s.Store.CertFile == "") != (s.Store.KeyFile == "") {
		p.add("etcd-cert-file", "comes with etcd-key-file, both or neither")
	}
	if (s.Store.User == "") != (s.Store.PasswordFile == "") {
		p.add("etcd-user", "comes with etcd-password-file, both or neither")
	}
}

func (s *Settings) validateTimes(p *problems) {
	atLeast := func(key string, d, least time.Duration) {
		if d < least {
			p.add(key, "%v is too short; at least %v", d, least)
		}
	}
	atLeast("drain", s.Drain, 0)
	atLeast("svid-ttl", s.Identity.SVIDTTL, minSVIDTTL)
	atLeast("join-token-ttl", s.Identity.JoinTokenTTL, time.Second)
	atLeast("heartbeat", s.Lease.Heartbeat, 100*time.Millisecond)
	if s.Identity.JoinTokenTTL > 24*time.Hour {
		p.add("join-token-ttl", "%v is too long; at most 24h", s.Identity.JoinTokenTTL)
	}
	if s.Lease.TTL < 2*s.Lease.Heartbeat {
		p.add("lease-ttl", "%v is too short; at least two heartbeats (%v)", s.Lease.TTL, 2*s.Lease.Heartbeat)
	}
}

// validateGateway checks each setting by itself, so that --check-config names all that are wrong; the gateway judges the rest.
func (s *Settings) validateGateway(p *problems) {
	g := s.Gateway
	within := func(key string, n, least, most int) {
		if n < least || n > most {
			p.add(key, "%d is not allowed; %d to %d are", n, least, most)
		}
	}
	if g.Rate <= 0 {
		p.add("gateway-rate", "%g is not allowed; it must be more than 0", g.Rate)
	}
	within("gateway-burst", g.Burst, 1, 1_000_000)
	within("gateway-max-concurrent", g.MaxConcurrent, 1, 1_000_000)
	within("gateway-max-body", g.MaxBody, 1024, 64<<20)
	within("audit-max-events", g.AuditMaxEvents, 1, 1_000_000)
	if g.AuditMaxAge < time.Hour {
		p.add("audit-max-age", "%v is too short; at least 1h", g.AuditMaxAge)
	}
	if g.IdempotencyWindow < time.Minute || g.IdempotencyWindow > 7*24*time.Hour {
		p.add("idempotency-window", "%v is not allowed; 1m to 168h are", g.IdempotencyWindow)
	}
	switch {
	case g.OIDCIssuer == "" && g.OIDCAudience != "":
		p.add("oidc-issuer", "is empty; oidc-audience needs one")
	case g.OIDCIssuer != "" && g.OIDCAudience == "":
		p.add("oidc-audience", "is empty; without one, tokens that the issuer made for others would be taken")
	}
}

// minSVIDTTL keeps renewal at half-life further apart than a renewal takes.
const minSVIDTTL = 4 * time.Second

// adminOffset is added to a gRPC port for health, metrics and pprof.
const adminOffset = 100

type problems []fault.Field

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, fault.Field{Path: path, Problem: fmt.Sprintf(format, args...)})
}

func (p *problems) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		p.add(path, "%q is not one of %q", value, allowed)
	}
}

func isHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.Atoi(port)
	return err == nil && n > 0 && n < 65536
}
