package distributor

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// ListSidecars lists every sidecar that is connected to any replica or registered in the catalogue.
func (c *convergence) ListSidecars(ctx context.Context, r *configpb.ListSidecarsRequest) (*configpb.ListSidecarsResponse, error) {
	hub := c.service.hub
	out := &configpb.ListSidecarsResponse{Compiled: modelpb.VectorToProto(hub.Vector()), Sidecars: hub.Sidecars()}
	if r.GetLocalOnly() {
		return out, nil
	}
	answers, unreachable := ask(ctx, c.service, func(ctx context.Context, client configpb.ConvergenceServiceClient) ([]*configpb.SidecarStatus, error) {
		list, err := client.ListSidecars(ctx, &configpb.ListSidecarsRequest{LocalOnly: true})
		return list.GetSidecars(), err
	})
	out.UnreachableReplicas = unreachable
	byName := map[string]*configpb.SidecarStatus{}
	for _, list := range append([][]*configpb.SidecarStatus{hub.Registered(), out.Sidecars}, answers...) {
		for _, s := range list {
			name := s.GetNamespace() + "/" + s.GetWorkload()
			if newer(s, byName[name]) {
				byName[name] = s
			}
		}
	}
	out.Sidecars = slices.SortedFunc(maps.Values(byName), func(a, b *configpb.SidecarStatus) int {
		return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetWorkload(), b.GetWorkload()))
	})
	return out, nil
}

// newer says whether a says more about a sidecar than b: a sidecar that has moved may still seem connected where it was.
func newer(a, b *configpb.SidecarStatus) bool {
	if b == nil || a.GetConnected() != b.GetConnected() {
		return b == nil || a.GetConnected()
	}
	return a.GetConnectTime().AsTime().After(b.GetConnectTime().AsTime())
}
