package compile

import (
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/services/internal/model"
)

// egress compiles what every sidecar knows of the outside.
func (w *World) egress() *Resource {
	body := &Egress{Strict: w.strictEgress()}
	origins := w.meshOrigins()
	for _, e := range w.Externals {
		origins = append(origins, ref(model.KindExternalService, e.Meta))
		body.Services = append(body.Services, external(e))
	}
	slices.SortFunc(body.Services, func(a, b ExternalService) int { return strings.Compare(a.Name, b.Name) })
	return w.resource(NameEgress, "egress", body, origins)
}

// strictEgress: who wants nothing but mTLS inside does not want everything outside, unless he says so.
func (w *World) strictEgress() bool {
	if w.Mesh == nil {
		return false
	}
	if w.Mesh.Egress == model.EgressUnset {
		return w.Mesh.MTLS == model.MTLSStrict
	}
	return w.Mesh.Egress == model.EgressStrict
}

func external(e *model.ExternalService) ExternalService {
	out := ExternalService{Name: e.Key.String(), Hosts: slices.Clone(e.Hosts), Ports: slices.Clone(e.Ports)}
	ranges := map[string]bool{}
	for _, text := range e.Addresses {
		if prefix, err := model.ParseRange(text); err == nil { // what is not valid was never stored
			ranges[prefix.String()] = true
		}
	}
	out.Addresses = slices.Sorted(maps.Keys(ranges))
	slices.Sort(out.Hosts)
	slices.Sort(out.Ports)
	return out
}
