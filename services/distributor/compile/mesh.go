package compile

import (
	"cmp"
	"fmt"

	"github.com/weft-mesh/weft/services/internal/model"
)

// What holds when nobody said otherwise.
const (
	defaultRetryPercent      = 20
	defaultRetryMinPerSecond = 10
)

func (w *World) mesh() *Resource {
	body := &Mesh{
		TrustDomain:       w.Bundle.TrustDomain,
		MTLS:              model.MTLSPermissive,
		Balancing:         model.BalancingPeakEWMA,
		RetryPercent:      defaultRetryPercent,
		RetryMinPerSecond: defaultRetryMinPerSecond,
	}
	if m := w.Mesh; m != nil {
		body.MTLS = cmp.Or(m.MTLS, body.MTLS)
		body.Balancing = cmp.Or(m.Balancing, body.Balancing)
		if m.RetryBudget != nil {
			body.RetryPercent = m.RetryBudget.Percent
			body.RetryMinPerSecond = m.RetryBudget.MinPerSecond
		}
	}
	return w.resource(NameMesh, "mesh", body, w.meshOrigins())
}

func (w *World) meshOrigins() []model.Ref {
	if w.Mesh == nil {
		return nil
	}
	return []model.Ref{ref(model.KindMeshConfig, w.Mesh.Meta)}
}

func (w *World) bundle() *Resource {
	body := &TrustBundle{TrustDomain: w.Bundle.TrustDomain, Authorities: w.Bundle.Authorities}
	return w.resource(NameBundle, "bundle", body, nil)
}

func ruleName(policy model.Key, index int) string {
	return fmt.Sprintf("%s[%d]", policy, index)
}
