package compile

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/services/internal/model"
)

// endpoints compiles where the workloads of one service are, and who they may be. Only the service's own list of accounts
// decides: a workload that names the service without being allowed is left out.
func (w *World) endpoints(svc *model.Service, workloads []*model.Workload) *Resource {
	body := &EndpointSet{Service: svc.Key.String(), IDs: w.allowedIDs(svc)}
	origins := []model.Ref{ref(model.KindService, svc.Meta)}
	for _, wl := range workloads {
		if !allows(svc, AccountOf(wl)) || !wl.Address.IsValid() {
			continue
		}
		origins = append(origins, ref(model.KindWorkload, wl.Meta))
		for _, p := range targets(svc, wl) {
			body.Endpoints = append(body.Endpoints, w.endpoint(wl, p))
		}
	}
	slices.SortFunc(body.Endpoints, func(a, b Endpoint) int {
		return cmp.Or(strings.Compare(a.Workload, b.Workload), cmp.Compare(a.Port, b.Port), cmp.Compare(a.TargetPort, b.TargetPort))
	})
	return w.resource(EndpointsName(svc.Key), "endpoints", body, origins)
}

func (w *World) endpoint(wl *model.Workload, p target) Endpoint {
	e := Endpoint{
		Workload:   wl.Name,
		Address:    wl.Address,
		MeshPort:   wl.MeshPort,
		Port:       p.port,
		TargetPort: p.target,
		Labels:     wl.Selectable,
		Unknown:    wl.State == model.WorkloadUnknown,
		Draining:   wl.State == model.WorkloadDraining,
	}
	if wl.MeshPort != 0 {
		e.ID = w.spiffeID(AccountOf(wl))
	}
	return e
}

func (w *World) allowedIDs(svc *model.Service) []string {
	var ids []string
	for _, text := range svc.Accounts {
		ids = append(ids, w.spiffeID(accountOf(svc, text)))
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// allows says whether workloads of an account may be endpoints of a service.
func allows(svc *model.Service, a Account) bool {
	return slices.ContainsFunc(svc.Accounts, func(text string) bool { return accountOf(svc, text) == a })
}

// accountOf reads "account" or "namespace/account" as a service's list has it.
func accountOf(svc *model.Service, text string) Account {
	if ns, name, ok := strings.Cut(text, "/"); ok {
		return Account{Namespace: ns, Name: name}
	}
	return Account{Namespace: svc.Namespace, Name: text}
}

// target is where requests for one port of a service go in one workload.
type target struct {
	port     uint16
	target   uint16
	protocol model.Protocol
}

// targets pairs the ports of a service with those of a workload. A service without ports takes every port as the workload
// registered it. A port that the workload does not serve gives nothing.
func targets(svc *model.Service, wl *model.Workload) []target {
	var out []target
	if len(svc.Ports) == 0 {
		for _, p := range wl.Ports {
			out = append(out, target{p.ServicePort, p.Port, p.Protocol})
		}
	}
	for _, sp := range svc.Ports {
		own, registered := workloadPort(wl, sp.Port)
		t := target{sp.Port, sp.TargetPort, sp.Protocol}
		if t.target == 0 {
			t.target = own.Port
		}
		if t.protocol == model.ProtocolUndeclared && registered {
			t.protocol = own.Protocol
		}
		if t.target != 0 {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b target) int { return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.target, b.target)) })
	return out
}

// workloadPort is the workload's port for a service's port: the one registered for that number, else one for any.
func workloadPort(wl *model.Workload, servicePort uint16) (model.WorkloadPort, bool) {
	for _, wanted := range []uint16{servicePort, 0} {
		for _, p := range wl.Ports {
			if p.ServicePort == wanted {
				return p, true
			}
		}
	}
	return model.WorkloadPort{}, false
}
