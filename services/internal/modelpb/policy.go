package modelpb

import (
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
)

// RouteFromProto reads a route. A backend without a weight has weight 1.
func RouteFromProto(p *policypb.Route) (model.Route, error) {
	if p == nil {
		return model.Route{}, missing(model.KindRoute)
	}
	var d decoder
	r := model.Route{Meta: d.meta(p.GetMetadata()), Service: p.GetSpec().GetService()}
	for i, rule := range p.GetSpec().GetRules() {
		r.Rules = append(r.Rules, d.rule(index("spec.rules", i), rule))
	}
	return r, d.done(model.KindRoute, r.Meta)
}

func (d *decoder) rule(path string, p *policypb.RouteRule) model.RouteRule {
	rule := model.RouteRule{Match: d.matches(path+".match", p.GetMatch()), Timeout: d.duration(path+".timeout", p.GetTimeout())}
	for _, b := range p.GetBackends() {
		backend := model.Backend{Service: b.GetService(), Labels: labels(b.GetLabels()), Weight: 1}
		if b != nil && b.Weight != nil {
			backend.Weight = b.GetWeight()
		}
		rule.Backends = append(rule.Backends, backend)
	}
	if retry := p.GetRetry(); retry != nil {
		rule.Retry = &model.RetryPolicy{
			Attempts: retry.GetAttempts(), PerTry: d.duration(path+".retry.perTryTimeout", retry.GetPerTryTimeout()),
			Statuses: append([]uint32(nil), retry.GetStatuses()...),
		}
	}
	return rule
}

// RouteToProto writes a route.
func RouteToProto(r model.Route) *policypb.Route {
	p := &policypb.Route{Metadata: metaToProto(r.Meta), Spec: &policypb.RouteSpec{Service: r.Service}}
	for _, rule := range r.Rules {
		out := &policypb.RouteRule{Match: matchesToProto(rule.Match), Timeout: durationToProto(rule.Timeout)}
		for _, b := range rule.Backends {
			out.Backends = append(out.Backends, &policypb.Backend{Service: b.Service, Labels: labels(b.Labels), Weight: &b.Weight})
		}
		if rule.Retry != nil {
			out.Retry = &policypb.RetryPolicy{
				Attempts: rule.Retry.Attempts, PerTryTimeout: durationToProto(rule.Retry.PerTry),
				Statuses: append([]uint32(nil), rule.Retry.Statuses...),
			}
		}
		p.Spec.Rules = append(p.Spec.Rules, out)
	}
	return p
}

// AccessPolicyFromProto reads an access policy.
func AccessPolicyFromProto(p *policypb.AccessPolicy) (model.AccessPolicy, error) {
	if p == nil {
		return model.AccessPolicy{}, missing(model.KindAccessPolicy)
	}
	var d decoder
	a := model.AccessPolicy{Meta: d.meta(p.GetMetadata()), Account: p.GetSpec().GetDestination().GetAccount()}
	for i, rule := range p.GetSpec().GetAllow() {
		out := model.AccessRule{To: d.matches(index("spec.allow", i)+".to", rule.GetTo())}
		for _, from := range rule.GetFrom() {
			out.From = append(out.From, model.AccessSource{Account: from.GetAccount(), Namespace: from.GetNamespace()})
		}
		a.Allow = append(a.Allow, out)
	}
	return a, d.done(model.KindAccessPolicy, a.Meta)
}

// AccessPolicyToProto writes an access policy.
func AccessPolicyToProto(a model.AccessPolicy) *policypb.AccessPolicy {
	p := &policypb.AccessPolicy{
		Metadata: metaToProto(a.Meta),
		Spec:     &policypb.AccessPolicySpec{Destination: &policypb.AccessDestination{Account: a.Account}},
	}
	for _, rule := range a.Allow {
		out := &policypb.AccessRule{To: matchesToProto(rule.To)}
		for _, from := range rule.From {
			out.From = append(out.From, &policypb.AccessSource{Account: from.Account, Namespace: from.Namespace})
		}
		p.Spec.Allow = append(p.Spec.Allow, out)
	}
	return p
}

// MeshConfigFromProto reads a mesh configuration.
func MeshConfigFromProto(p *policypb.MeshConfig) (model.MeshConfig, error) {
	if p == nil {
		return model.MeshConfig{}, missing(model.KindMeshConfig)
	}
	var d decoder
	spec := p.GetSpec()
	c := model.MeshConfig{
		Meta: d.meta(p.GetMetadata()),
		MTLS: enum[model.MTLSMode](&d, "spec.mtls", spec.GetMtls(), typepb.MtlsMode_MTLS_MODE_STRICT, "off, permissive or strict"),
		Access: enum[model.AccessDefault](&d, "spec.access", spec.GetAccess(), typepb.AccessDefault_ACCESS_DEFAULT_DENY,
			"allow or deny"),
		Balancing: enum[model.Balancing](&d, "spec.balancing", spec.GetBalancing(), typepb.Balancing_BALANCING_LEAST_REQUEST,
			"peak_ewma, round_robin or least_request"),
		Egress: enum[model.EgressMode](&d, "spec.egress", spec.GetEgress(), typepb.EgressMode_EGRESS_MODE_STRICT, "open or strict"),
	}
	if b := spec.GetRetryBudget(); b != nil {
		c.RetryBudget = &model.RetryBudget{Percent: b.GetPercent(), MinPerSecond: b.GetMinPerSecond()}
	}
	return c, d.done(model.KindMeshConfig, c.Meta)
}

// MeshConfigToProto writes a mesh configuration.
func MeshConfigToProto(c model.MeshConfig) *policypb.MeshConfig {
	p := &policypb.MeshConfig{Metadata: metaToProto(c.Meta), Spec: &policypb.MeshConfigSpec{
		Mtls: typepb.MtlsMode(c.MTLS), Access: typepb.AccessDefault(c.Access), Balancing: typepb.Balancing(c.Balancing),
		Egress: typepb.EgressMode(c.Egress),
	}}
	if b := c.RetryBudget; b != nil {
		p.Spec.RetryBudget = &policypb.RetryBudget{Percent: b.Percent, MinPerSecond: b.MinPerSecond}
	}
	return p
}

// ExternalServiceFromProto reads an external service.
func ExternalServiceFromProto(p *policypb.ExternalService) (model.ExternalService, error) {
	if p == nil {
		return model.ExternalService{}, missing(model.KindExternalService)
	}
	var d decoder
	spec := p.GetSpec()
	e := model.ExternalService{Meta: d.meta(p.GetMetadata()), Hosts: texts(spec.GetHosts()), Addresses: texts(spec.GetAddresses())}
	for i, n := range spec.GetPorts() {
		e.Ports = append(e.Ports, d.port(index("spec.ports", i), n))
	}
	return e, d.done(model.KindExternalService, e.Meta)
}

// ExternalServiceToProto writes an external service.
func ExternalServiceToProto(e model.ExternalService) *policypb.ExternalService {
	p := &policypb.ExternalService{
		Metadata: metaToProto(e.Meta),
		Spec:     &policypb.ExternalServiceSpec{Hosts: texts(e.Hosts), Addresses: texts(e.Addresses)},
	}
	for _, n := range e.Ports {
		p.Spec.Ports = append(p.Spec.Ports, uint32(n))
	}
	return p
}
