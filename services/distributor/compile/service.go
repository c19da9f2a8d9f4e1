package compile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/services/internal/model"
)

// service compiles the body of one service from the routes that name it.
func (w *World) service(svc *model.Service, routes []*model.Route) *Resource {
	body := &Service{Name: svc.Key.String(), Ports: servicePorts(svc)}
	origins := []model.Ref{ref(model.KindService, svc.Meta)}
	if route := winner(routes); route != nil {
		body.Route = route.Key.String()
		origins = append(origins, ref(model.KindRoute, route.Meta))
		for _, rule := range route.Rules {
			body.Rules = append(body.Rules, w.rule(route.Namespace, rule))
		}
	}
	return w.resource(ServiceName(svc.Key), "service", body, origins)
}

func (w *World) rule(namespace string, rule model.RouteRule) RouteRule {
	out := RouteRule{Matches: rule.Match, Timeout: rule.Timeout}
	if rule.Retry != nil {
		out.RetryAttempts = rule.Retry.Attempts
		out.PerTry = rule.Retry.PerTry
		out.RetryStatuses = rule.Retry.Statuses
	}
	for _, b := range rule.Backends {
		key := model.Key{Namespace: namespace, Name: b.Service}
		out.Backends = append(out.Backends, Backend{
			Service: key,
			Labels:  b.Labels,
			Weight:  b.Weight,
			Missing: w.Services[key] == nil,
		})
	}
	return out
}

// winner is the route that counts of several for one service: the oldest, then the one with the lower name.
func winner(routes []*model.Route) *model.Route {
	var first *model.Route
	for _, r := range routes {
		if first == nil || r.Precedes(first) {
			first = r
		}
	}
	return first
}

func servicePorts(svc *model.Service) []ServicePort {
	var out []ServicePort
	for _, p := range svc.Ports {
		out = append(out, ServicePort{Port: p.Port, Protocol: p.Protocol})
	}
	slices.SortFunc(out, func(a, b ServicePort) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
	return out
}

// resource wraps a body with its version.
func (w *World) resource(name, kind string, body Body, origins []model.Ref) *Resource {
	slices.SortFunc(origins, compareRefs)
	return &Resource{
		Name:     name,
		Version:  version(kind, body),
		MadeFrom: w.Vector,
		Origins:  origins,
		Body:     body,
	}
}

func ref(kind string, m model.Meta) model.Ref {
	return model.Ref{Kind: kind, Key: m.Key, Etag: m.Etag}
}

func compareRefs(a, b model.Ref) int {
	return cmp.Or(
		strings.Compare(a.Kind, b.Kind),
		strings.Compare(a.Namespace, b.Namespace),
		strings.Compare(a.Name, b.Name),
	)
}
