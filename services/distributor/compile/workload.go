package compile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/services/internal/model"
)

// inbound compiles what a sidecar knows of its own registered workload. Services that do not exist, or that do not allow its
// account, are left out: the sidecar then refuses requests for them.
func (w *World) inbound(wl *model.Workload) *Resource {
	body := &Inbound{Namespace: wl.Namespace, Account: wl.Account, Workload: wl.Name, Labels: wl.Selectable}
	origins := []model.Ref{ref(model.KindWorkload, wl.Meta)}
	names := slices.Clone(wl.Services)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		svc := w.Services[model.Key{Namespace: wl.Namespace, Name: name}]
		if svc == nil || !svc.Admits(wl.Namespace, wl.Account) {
			continue
		}
		origins = append(origins, ref(model.KindService, svc.Meta))
		for _, e := range endpointsOf(svc, wl) {
			body.Ports = append(body.Ports, InboundPort{
				Service:    svc.Key.String(),
				Port:       e.ServicePort,
				TargetPort: e.TargetPort,
				Protocol:   e.Protocol,
			})
		}
	}
	return w.resource(NameInbound, "inbound", body, origins)
}

// unregistered is the inbound side of a workload that the catalogue does not know (yet): it serves nothing.
func (w *World) unregistered(key model.Key, account string) *Resource {
	body := &Inbound{Namespace: key.Namespace, Account: account, Workload: key.Name}
	return w.resource(NameInbound, "inbound", body, nil)
}

// access compiles the policies that select one account. Several add up.
func (w *World) access(policies []*model.AccessPolicy) *Resource {
	body := &Access{}
	var origins []model.Ref
	policies = slices.Clone(policies)
	slices.SortFunc(policies, func(a, b *model.AccessPolicy) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range policies {
		origins = append(origins, ref(model.KindAccessPolicy, p.Meta))
		for i, rule := range p.Allow {
			if out, ok := w.accessRule(p, i, rule); ok {
				body.Rules = append(body.Rules, out)
			}
		}
	}
	return w.resource(NameAccess, "access", body, origins)
}

// accessRule compiles one rule; a rule that names nobody lets nobody pass and is left out.
func (w *World) accessRule(p *model.AccessPolicy, index int, rule model.AccessRule) (AccessRule, bool) {
	out := AccessRule{Name: ruleName(p.Key, index), Matches: rule.To}
	for _, from := range rule.From {
		switch {
		case from.Account != "":
			ns := cmp.Or(from.Namespace, p.Namespace)
			out.IDs = append(out.IDs, w.spiffeID(Account{Namespace: ns, Name: from.Account}))
		case from.Namespace != "":
			out.IDPrefixes = append(out.IDPrefixes, w.spiffePrefix(from.Namespace))
		}
	}
	slices.Sort(out.IDs)
	out.IDs = slices.Compact(out.IDs)
	slices.Sort(out.IDPrefixes)
	out.IDPrefixes = slices.Compact(out.IDPrefixes)
	return out, len(out.IDs)+len(out.IDPrefixes) > 0
}

// defaultAccess is for every account that no policy selects.
func (w *World) defaultAccess() *Resource {
	body := &Access{Open: w.Mesh == nil || w.Mesh.Access != model.AccessDeny}
	return w.resource(NameAccess, "access", body, w.meshOrigins())
}
