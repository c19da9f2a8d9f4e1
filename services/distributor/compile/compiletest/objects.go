package compiletest

import (
	"slices"
	"strings"

	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/model"
)

func (p *parser) trust(name string, a attributes) {
	p.w.Bundle = &compile.Bundle{TrustDomain: name}
	for _, der := range a.list("authorities") {
		p.w.Bundle.Authorities = append(p.w.Bundle.Authorities, []byte(der))
	}
}

func (p *parser) mesh(a attributes) {
	m := &model.MeshConfig{Meta: p.meta("default/default", a)}
	m.Access = map[string]model.AccessDefault{"allow": model.AccessAllow, "deny": model.AccessDeny}[a.take("access")]
	m.MTLS = map[string]model.MTLSMode{"off": model.MTLSOff, "permissive": model.MTLSPermissive, "strict": model.MTLSStrict}[a.take("mtls")]
	m.Balancing = map[string]model.Balancing{
		"round_robin": model.BalancingRoundRobin, "least_request": model.BalancingLeastRequest,
	}[a.take("balancing")]
	if percent, least, ok := strings.Cut(a.take("retry"), "/"); ok {
		m.RetryBudget = &model.RetryBudget{Percent: uint32(p.number(percent)), MinPerSecond: uint32(p.number(least))}
	}
	m.Egress = map[string]model.EgressMode{"open": model.EgressOpen, "strict": model.EgressStrict}[a.take("egress")]
	p.w.Mesh = m
}

func (p *parser) external(name string, a attributes) {
	e := &model.ExternalService{Meta: p.meta(name, a), Hosts: a.list("hosts"), Addresses: a.list("addresses")}
	for _, text := range a.list("ports") {
		e.Ports = append(e.Ports, uint16(p.number(text)))
	}
	p.w.Externals[e.Key] = e
}

func (p *parser) service(name string, a attributes) {
	s := &model.Service{Meta: p.meta(name, a), Accounts: a.list("accounts"), VirtualAddress: p.address(a.take("vip"))}
	for _, text := range a.list("ports") {
		port, target, protocol := p.port(text)
		s.Ports = append(s.Ports, model.ServicePort{Port: port, TargetPort: target, Protocol: protocol})
	}
	p.w.Services[s.Key] = s
}

func (p *parser) workload(name string, a attributes) {
	w := &model.Workload{
		Meta:       p.meta(name, a),
		Account:    a.take("account"),
		Services:   a.list("services"),
		Selectable: labels(a.list("labels")),
		Address:    p.address(a.take("address")),
		MeshPort:   uint16(p.number(a.take("mesh"))),
		State:      model.WorkloadReady,
	}
	switch a.take("state") {
	case "unknown":
		w.State = model.WorkloadUnknown
	case "draining":
		w.State = model.WorkloadDraining
	}
	for _, text := range a.list("ports") {
		port, target, protocol := p.port(text)
		if target == 0 {
			port, target = 0, port
		}
		w.Ports = append(w.Ports, model.WorkloadPort{ServicePort: port, Port: target, Protocol: protocol})
	}
	p.w.Workloads[w.Key] = w
}

// port reads "80", "80:http", "80>8080:http".
func (p *parser) port(text string) (port, target uint16, protocol model.Protocol) {
	text, name, _ := strings.Cut(text, ":")
	from, to, _ := strings.Cut(text, ">")
	index := slices.Index([]string{"", "http", "http2", "grpc", "tcp", "udp"}, name)
	if index < 0 {
		p.fail("no such protocol")
	}
	return uint16(p.number(from)), uint16(p.number(to)), model.Protocol(index)
}

func labels(list []string) map[string]string {
	var out map[string]string
	for _, text := range list {
		if out == nil {
			out = map[string]string{}
		}
		k, v, _ := strings.Cut(text, ":")
		out[k] = v
	}
	return out
}

func (p *parser) rule(a attributes) {
	r := model.RouteRule{Timeout: p.duration(a.take("timeout"))}
	m := model.HTTPMatch{Methods: a.list("method")}
	if path := a.take("path"); path != "" {
		m.Path = p.match(path)
	}
	for _, h := range a.list("header") {
		name, how, _ := strings.Cut(h, ":")
		m.Headers = append(m.Headers, model.HeaderMatch{Name: name, StringMatch: *p.match(how)})
	}
	if m.Path != nil || len(m.Methods)+len(m.Headers) > 0 {
		r.Match = []model.HTTPMatch{m}
	}
	if parts := strings.Split(a.take("retry"), "/"); len(parts) == 3 {
		r.Retry = &model.RetryPolicy{
			Attempts: uint32(p.number(parts[0])), PerTry: p.duration(parts[1]), Statuses: []uint32{uint32(p.number(parts[2]))},
		}
	}
	for _, text := range a.list("backends") {
		r.Backends = append(r.Backends, p.backend(text))
	}
	p.route.Rules = append(p.route.Rules, r)
}

// backend reads "web", "web*90", "web[version:v2]*90".
func (p *parser) backend(text string) model.Backend {
	b := model.Backend{Weight: 1}
	text, weight, ok := strings.Cut(text, "*")
	if ok {
		b.Weight = uint32(p.number(weight))
	}
	name, selector, _ := strings.Cut(strings.TrimSuffix(text, "]"), "[")
	b.Service = name
	if selector != "" {
		b.Labels = labels([]string{selector})
	}
	return b
}

// match reads "exact:/a", "prefix:/a", "regex:…", "present", "absent".
func (p *parser) match(text string) *model.StringMatch {
	kind, value, _ := strings.Cut(text, ":")
	index := slices.Index([]string{"", "exact", "prefix", "regex", "present", "absent"}, kind)
	if index < 1 {
		p.fail("no such match")
	}
	return &model.StringMatch{Kind: model.MatchKind(index), Value: value}
}

func (p *parser) allow(a attributes) {
	var r model.AccessRule
	for _, from := range a.list("from") {
		name, ns, _ := strings.Cut(from, "@")
		r.From = append(r.From, model.AccessSource{Account: strings.TrimPrefix(name, "*"), Namespace: ns})
	}
	for _, to := range a.list("to") {
		method, path, ok := strings.Cut(to, ":")
		m := model.HTTPMatch{Methods: []string{method}}
		if ok {
			m.Path = p.match(path)
		}
		r.To = append(r.To, m)
	}
	p.policy.Allow = append(p.policy.Allow, r)
}
