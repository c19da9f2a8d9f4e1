package model

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func meta(name string) Meta { return Meta{Key: Key{DefaultNamespace, name}} }

func goodService() Service {
	return Service{
		Meta: meta("reviews"), Accounts: []string{"reviews", "blue/reviews"},
		Ports: []ServicePort{{Name: "http", Port: 80, TargetPort: 8080, Protocol: ProtocolHTTP}, {Name: "db", Port: 5432, TargetPort: 8080}},
	}
}

func goodWorkload() Workload {
	return Workload{
		Meta: meta("reviews-1"), Account: "reviews", Services: []string{"reviews"}, Selectable: map[string]string{"version": "v1"},
		Address: netip.MustParseAddr("127.0.0.1"), MeshPort: 15008, Ports: []WorkloadPort{{Port: 8080}, {ServicePort: 81, Port: 8081}},
		Locality: "eu-1/a", State: WorkloadReady,
	}
}

func goodRoute() Route {
	return Route{Meta: meta("canary"), Service: "reviews", Rules: []RouteRule{{
		Match: []HTTPMatch{{
			Path: &StringMatch{MatchPrefix, "/"}, Methods: []string{"GET", "M-SEARCH"},
			Headers: []HeaderMatch{{"x-beta", StringMatch{MatchExact, "1"}}, {"x-id", StringMatch{MatchRegex, "[a-z]+"}}, {"a", StringMatch{Kind: MatchAbsent}}},
		}},
		Backends: []Backend{{Service: "reviews", Labels: map[string]string{"version": "v2"}, Weight: 1_000_000}, {Service: "old", Weight: 0}},
		Timeout:  time.Hour, Retry: &RetryPolicy{Attempts: 10, PerTry: time.Second, Statuses: []uint32{500, 599}},
	}}}
}

func goodAccess() AccessPolicy {
	return AccessPolicy{Meta: meta("callers"), Account: "ratings", Allow: []AccessRule{{
		From: []AccessSource{{Account: "reviews"}, {Namespace: "blue"}, {Account: "a", Namespace: "b"}},
		To:   []HTTPMatch{{Methods: []string{"GET"}, Path: &StringMatch{MatchExact, "/ratings/1"}}},
	}}}
}

func goodConfig() MeshConfig {
	return MeshConfig{Meta: meta("default"), MTLS: MTLSStrict, Access: AccessDeny, Balancing: BalancingLeastRequest, RetryBudget: &RetryBudget{Percent: 100, MinPerSecond: 0}}
}

type broken struct {
	name string
	got  []Violation
	want []string // paths
}

// with returns what validation says of a good object after one change.
func with[T any](good T, validate func(*T) []Violation, change func(*T)) []Violation {
	change(&good)
	return validate(&good)
}

func service(change func(*Service)) []Violation {
	return with(goodService(), (*Service).Validate, change)
}
func workload(change func(*Workload)) []Violation {
	return with(goodWorkload(), (*Workload).Validate, change)
}
func route(change func(*Route)) []Violation { return with(goodRoute(), (*Route).Validate, change) }
func access(change func(*AccessPolicy)) []Violation {
	return with(goodAccess(), (*AccessPolicy).Validate, change)
}
func config(change func(*MeshConfig)) []Violation {
	return with(goodConfig(), (*MeshConfig).Validate, change)
}

func goodExternal() ExternalService {
	return ExternalService{
		Meta: meta("pay"), Hosts: []string{"pay.example", "*.pay.example", "_dns.example"}, Addresses: []string{"192.0.2.1", "2001:db8::/32"}, Ports: []uint16{443, 8443},
	}
}
func external(change func(*ExternalService)) []Violation {
	return with(goodExternal(), (*ExternalService).Validate, change)
}

func TestGoodObjectsAreValid(t *testing.T) {
	check(t, []broken{
		{"service", service(func(*Service) {}), nil},
		{"service without ports and accounts", service(func(s *Service) { s.Ports, s.Accounts = nil, nil }), nil},
		{"one port without a name", service(func(s *Service) { s.Ports = []ServicePort{{Port: 65535}} }), nil},
		{"workload", workload(func(*Workload) {}), nil},
		{"pure client", workload(func(w *Workload) { w.Services, w.Ports, w.MeshPort = nil, nil, 0 }), nil},
		{"route", route(func(*Route) {}), nil},
		{"route without rules", route(func(r *Route) { r.Rules = nil }), nil},
		{"all weights zero", route(func(r *Route) { r.Rules[0].Backends[0].Weight = 0 }), nil},
		{"access policy", access(func(*AccessPolicy) {}), nil},
		{"nobody may", access(func(p *AccessPolicy) { p.Allow = nil }), nil},
		{"mesh config", config(func(*MeshConfig) {}), nil},
		{"external service", external(func(*ExternalService) {}), nil},
		{"external host only", external(func(e *ExternalService) { e.Addresses, e.Ports = nil, nil }), nil},
		{"external address only", external(func(e *ExternalService) { e.Hosts = nil }), nil},
		{"everything unset", config(func(c *MeshConfig) { *c = MeshConfig{Meta: meta("default")} }), nil},
	})
}

func TestCatalogueRules(t *testing.T) {
	long := strings.Repeat("a", 64)
	check(t, []broken{
		{"no name", service(func(s *Service) { s.Name = "" }), []string{"metadata.name"}},
		{"upper case", service(func(s *Service) { s.Name = "Reviews" }), []string{"metadata.name"}},
		{"too long", service(func(s *Service) { s.Name = long }), []string{"metadata.name"}},
		{"dash at the end", service(func(s *Service) { s.Name = "a-" }), []string{"metadata.name"}},
		{"slash", service(func(s *Service) { s.Namespace = "a/b" }), []string{"metadata.namespace"}},
		{"label key", service(func(s *Service) { s.Labels = map[string]string{"": "x"} }), []string{"metadata.labels[]"}},
		{"label value", service(func(s *Service) { s.Labels = map[string]string{"a": "\xff"} }), []string{"metadata.labels[a]"}},
		{"account", service(func(s *Service) { s.Accounts[1] = "a/b/c" }), []string{"spec.accounts[1]"}},
		{"account twice", service(func(s *Service) { s.Accounts[1] = "reviews" }), []string{"spec.accounts[1]"}},
		{"port without a name", service(func(s *Service) { s.Ports[1].Name = "" }), []string{"spec.ports[1].name"}},
		{"port names equal", service(func(s *Service) { s.Ports[1].Name = "http" }), []string{"spec.ports[1].name"}},
		{"port zero", service(func(s *Service) { s.Ports[0].Port = 0 }), []string{"spec.ports[0].port"}},
		{"port numbers equal", service(func(s *Service) { s.Ports[1].Port = 80 }), []string{"spec.ports[1].port"}},
		{"port numbers equal, UDP and TCP", service(func(s *Service) { s.Ports[1].Port, s.Ports[1].Protocol = 80, ProtocolUDP }), nil},
		{"port numbers equal, both UDP", service(func(s *Service) {
			s.Ports[0].Protocol, s.Ports[1].Port, s.Ports[1].Protocol = ProtocolUDP, 80, ProtocolUDP
		}), []string{"spec.ports[1].port"}},
		{"protocol", service(func(s *Service) { s.Ports[0].Protocol = 9 }), []string{"spec.ports[0].protocol"}},
		{"workload's account", workload(func(w *Workload) { w.Account = "" }), []string{"spec.account"}},
		{"service's name", workload(func(w *Workload) { w.Services[0] = "a.b" }), []string{"spec.services[0]"}},
		{"service twice", workload(func(w *Workload) { w.Services = []string{"a", "a"} }), []string{"spec.services[1]"}},
		{"selectable", workload(func(w *Workload) { w.Selectable = map[string]string{"a": "b c"} }), []string{"spec.labels[a]"}},
		{"no address", workload(func(w *Workload) { w.Address = netip.Addr{} }), []string{"spec.address"}},
		{"any address", workload(func(w *Workload) { w.Address = netip.IPv4Unspecified() }), []string{"spec.address"}},
		{"multicast", workload(func(w *Workload) { w.Address = netip.MustParseAddr("ff02::1") }), []string{"spec.address"}},
		{"app port zero", workload(func(w *Workload) { w.Ports[1].Port = 0 }), []string{"spec.ports[1].port"}},
		{"service port twice", workload(func(w *Workload) { w.Ports[1].ServicePort = 0 }), []string{"spec.ports[1].servicePort"}},
		{"service port twice, UDP and TCP", workload(func(w *Workload) { w.Ports[1].ServicePort, w.Ports[1].Protocol = 0, ProtocolUDP }), nil},
		{"workload's protocol", workload(func(w *Workload) { w.Ports[0].Protocol = 9 }), []string{"spec.ports[0].protocol"}},
		{"locality", workload(func(w *Workload) { w.Locality = "a\nb" }), []string{"spec.locality"}},
	})
}

func TestRouteRules(t *testing.T) {
	rule := func(change func(*RouteRule)) []Violation { return route(func(r *Route) { change(&r.Rules[0]) }) }
	path := func(kind MatchKind, value string) []Violation {
		return rule(func(r *RouteRule) { r.Match[0].Path = &StringMatch{kind, value} })
	}
	header := func(h HeaderMatch) []Violation { return rule(func(r *RouteRule) { r.Match[0].Headers[1] = h }) }
	const at, head = "spec.rules[0].match[0].path.", "spec.rules[0].match[0].headers[1]"
	check(t, []broken{
		{"service", route(func(r *Route) { r.Service = "" }), []string{"spec.service"}},
		{"no backends", rule(func(r *RouteRule) { r.Backends = nil }), []string{"spec.rules[0].backends"}},
		{"backend", rule(func(r *RouteRule) { r.Backends[1].Service = "B" }), []string{"spec.rules[0].backends[1].service"}},
		{"weight", rule(func(r *RouteRule) { r.Backends[1].Weight = 1_000_001 }), []string{"spec.rules[0].backends[1].weight"}},
		{"labels", rule(func(r *RouteRule) { r.Backends[1].Labels = map[string]string{"v": "a b"} }), []string{"spec.rules[0].backends[1].labels[v]"}},
		{"negative timeout", rule(func(r *RouteRule) { r.Timeout = -1 }), []string{"spec.rules[0].timeout"}},
		{"long timeout", rule(func(r *RouteRule) { r.Timeout = time.Hour + 1 }), []string{"spec.rules[0].timeout"}},
		{"no attempts", rule(func(r *RouteRule) { r.Retry.Attempts = 0 }), []string{"spec.rules[0].retry.attempts"}},
		{"many attempts", rule(func(r *RouteRule) { r.Retry.Attempts = 11 }), []string{"spec.rules[0].retry.attempts"}},
		{"per try", rule(func(r *RouteRule) { r.Retry.PerTry = 2 * time.Hour }), []string{"spec.rules[0].retry.perTryTimeout"}},
		{"status", rule(func(r *RouteRule) { r.Retry.Statuses[1] = 404 }), []string{"spec.rules[0].retry.statuses[1]"}},
		{"status twice", rule(func(r *RouteRule) { r.Retry.Statuses[1] = 500 }), []string{"spec.rules[0].retry.statuses[1]"}},
		{"relative path", path(MatchExact, "a"), []string{at + "exact"}},
		{"query", path(MatchPrefix, "/a?b"), []string{at + "prefix"}},
		{"double slash", path(MatchPrefix, "/a//b"), []string{at + "prefix"}},
		{"dots", path(MatchExact, "/a/.."), []string{at + "exact"}},
		{"control", path(MatchExact, "/a\x00"), []string{at + "exact"}},
		{"regex", path(MatchRegex, "("), []string{at + "regex"}},
		{"regex that closes the anchor's group", path(MatchRegex, "a)|(b"), []string{at + "regex"}},
		{"look-ahead is not RE2", path(MatchRegex, "(?=a)"), []string{at + "regex"}},
		{"long regex", path(MatchRegex, strings.Repeat("a", 2000)), []string{at + "regex"}},
		{"no kind", path(0, "/"), []string{"spec.rules[0].match[0].path"}},
		{"lower-case method", rule(func(r *RouteRule) { r.Match[0].Methods[0] = "get" }), []string{"spec.rules[0].match[0].methods[0]"}},
		{"empty method", rule(func(r *RouteRule) { r.Match[0].Methods[1] = "" }), []string{"spec.rules[0].match[0].methods[1]"}},
		{"header name", header(HeaderMatch{":path", StringMatch{Kind: MatchPresent}}), []string{head + ".name"}},
		{"header regex", header(HeaderMatch{"a", StringMatch{MatchRegex, "["}}), []string{head + ".regex"}},
		{"header value", header(HeaderMatch{"a", StringMatch{MatchExact, "\n"}}), []string{head + ".exact"}},
		{"header without a kind", header(HeaderMatch{Name: "a"}), []string{head}},
	})
}

func TestAccessAndMeshRules(t *testing.T) {
	check(t, []broken{
		{"destination", access(func(p *AccessPolicy) { p.Account = "" }), []string{"spec.destination.account"}},
		{"nobody", access(func(p *AccessPolicy) { p.Allow[0].From[1] = AccessSource{} }), []string{"spec.allow[0].from[1]"}},
		{"account", access(func(p *AccessPolicy) { p.Allow[0].From[0].Account = "a/b" }), []string{"spec.allow[0].from[0].account"}},
		{"namespace", access(func(p *AccessPolicy) { p.Allow[0].From[1].Namespace = "*" }), []string{"spec.allow[0].from[1].namespace"}},
		{"operation", access(func(p *AccessPolicy) { p.Allow[0].To[0].Methods[0] = "Get" }), []string{"spec.allow[0].to[0].methods[0]"}},
		{"another mesh config", config(func(c *MeshConfig) { c.Name = "other" }), []string{"metadata.name"}},
		{"another namespace", config(func(c *MeshConfig) { c.Namespace = "other" }), []string{"metadata.name"}},
		{"mtls", config(func(c *MeshConfig) { c.MTLS = 4 }), []string{"spec.mtls"}},
		{"access", config(func(c *MeshConfig) { c.Access = 3 }), []string{"spec.access"}},
		{"egress", config(func(c *MeshConfig) { c.Egress = 3 }), []string{"spec.egress"}},
		{"balancing", config(func(c *MeshConfig) { c.Balancing = 4 }), []string{"spec.balancing"}},
		{"percent", config(func(c *MeshConfig) { c.RetryBudget.Percent = 101 }), []string{"spec.retryBudget.percent"}},
		{"budget", config(func(c *MeshConfig) { c.RetryBudget.MinPerSecond = math.MaxUint32 }), []string{"spec.retryBudget.minPerSecond"}},
	})
}

func check(t *testing.T, tests []broken) {
	t.Helper()
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var paths []string
			for _, v := range tc.got {
				paths = append(paths, v.Path)
				if v.Problem == "" {
					t.Errorf("%s: says nothing", v.Path)
				}
			}
			if diff := cmp.Diff(tc.want, paths, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("paths (-want +got):\n%s\n%v", diff, tc.got)
			}
		})
	}
}

// Whatever the input, validation answers, and what it says can be shown and sent.
func TestExternalServiceRules(t *testing.T) {
	host := func(h string) []Violation {
		return external(func(e *ExternalService) { e.Hosts = []string{"ok.example", h} })
	}
	address := func(a string) []Violation {
		return external(func(e *ExternalService) { e.Addresses = []string{a} })
	}
	check(t, []broken{
		{"nothing", external(func(e *ExternalService) { e.Hosts, e.Addresses = nil, nil }), []string{"spec.hosts"}},
		{"upper case", host("Pay.example"), []string{"spec.hosts[1]"}},
		{"final dot", host("pay.example."), []string{"spec.hosts[1]"}},
		{"star alone", host("*."), []string{"spec.hosts[1]"}},
		{"star inside", host("a.*.example"), []string{"spec.hosts[1]"}},
		{"star of a label", host("a*.example"), []string{"spec.hosts[1]"}},
		{"port", host("pay.example:443"), []string{"spec.hosts[1]"}},
		{"URL", host("https://pay.example"), []string{"spec.hosts[1]"}},
		{"address as host", host("192.0.2.1"), []string{"spec.hosts[1]"}},
		{"long", host(strings.Repeat("a.", 127)), []string{"spec.hosts[1]"}},
		{"host twice", host("ok.example"), []string{"spec.hosts[1]"}},
		{"name as address", address("pay.example"), []string{"spec.addresses[0]"}},
		{"bits beyond the length", address("192.0.2.1/24"), []string{"spec.addresses[0]"}},
		{"zone", address("fe80::1%eth0"), []string{"spec.addresses[0]"}},
		{"IPv4 in IPv6", address("::ffff:192.0.2.0/120"), []string{"spec.addresses[0]"}},
		{"port 0", external(func(e *ExternalService) { e.Ports = []uint16{0} }), []string{"spec.ports[0]"}},
		{"port twice", external(func(e *ExternalService) { e.Ports = []uint16{1, 1} }), []string{"spec.ports[1]"}},
		{"many", external(func(e *ExternalService) {
			e.Ports = nil
			for i := range uint16(101) {
				e.Ports = append(e.Ports, i+1)
			}
		}), []string{"spec.ports"}},
	})
}

func TestValidateNeverPanics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []Violation
		s := rapid.Make[Service]().Draw(t, "service")
		r := rapid.Make[Route]().Draw(t, "route")
		a := rapid.Make[AccessPolicy]().Draw(t, "access")
		c := rapid.Make[MeshConfig]().Draw(t, "config")
		w := goodWorkload()
		w.Name, w.Account = rapid.String().Draw(t, "name"), rapid.String().Draw(t, "account")
		w.Services = rapid.SliceOf(rapid.String()).Draw(t, "services")
		w.Selectable = rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "labels")
		all = append(all, s.Validate()...)
		all = append(all, w.Validate()...)
		all = append(all, r.Validate()...)
		all = append(all, a.Validate()...)
		all = append(all, c.Validate()...)
		e := goodExternal()
		e.Hosts, e.Addresses = rapid.SliceOf(rapid.String()).Draw(t, "hosts"), rapid.SliceOf(rapid.String()).Draw(t, "addresses")
		all = append(all, e.Validate()...)
		for _, v := range all {
			if v.Path == "" || v.Problem == "" {
				t.Fatalf("empty violation: %+v", v)
			}
		}
	})
}

func FuzzPathRule(f *testing.F) {
	for _, seed := range []string{"/", "/a/b", "/a//b", "/../x", "(", "a)|(b", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, kind := range []MatchKind{MatchExact, MatchPrefix, MatchRegex} {
			var v violations
			v.path("p", &StringMatch{kind, value})
			for _, problem := range v {
				if len(problem.Problem) > 2000 {
					t.Errorf("a message of %d bytes", len(problem.Problem))
				}
			}
		}
	})
}
