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
		derived := endpointsOf(svc, wl)
		if len(derived) == 0 || !wl.Address.IsValid() {
			continue
		}
		origins = append(origins, ref(model.KindWorkload, wl.Meta))
		for _, e := range derived {
			body.Endpoints = append(body.Endpoints, w.endpoint(e))
		}
	}
	slices.SortFunc(body.Endpoints, func(a, b Endpoint) int {
		return cmp.Or(strings.Compare(a.Workload, b.Workload), cmp.Compare(a.Port, b.Port), cmp.Compare(a.TargetPort, b.TargetPort), order(a.UDP, b.UDP))
	})
	return w.resource(EndpointsName(svc.Key), "endpoints", body, origins)
}

// order puts false first.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (w *World) endpoint(from model.Endpoint) Endpoint {
	e := Endpoint{
		Workload:   from.Workload.Name,
		Address:    from.Address,
		MeshPort:   from.MeshPort,
		Port:       from.ServicePort,
		TargetPort: from.TargetPort,
		UDP:        from.Protocol.UDP(),
		Labels:     from.Labels,
		Unknown:    from.State == model.WorkloadUnknown,
		Draining:   from.State == model.WorkloadDraining,
	}
	if from.MeshPort != 0 {
		e.ID = w.spiffeID(Account{Namespace: from.Workload.Namespace, Name: from.Account})
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

// accountOf reads "account" or "namespace/account" as a service's list has it.
func accountOf(svc *model.Service, text string) Account {
	if ns, name, ok := strings.Cut(text, "/"); ok {
		return Account{Namespace: ns, Name: name}
	}
	return Account{Namespace: svc.Namespace, Name: text}
}

// endpointsOf is what one workload adds to a service: nothing when it does not name the service or may not. The rule is the
// model's, so that discovery lists the endpoints that sidecars use.
func endpointsOf(svc *model.Service, wl *model.Workload) []model.Endpoint {
	return model.Endpoints(svc, []model.Workload{*wl})
}
