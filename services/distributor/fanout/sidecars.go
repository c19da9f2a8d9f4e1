package fanout

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// Sidecars lists the sidecars that have a stream at this replica, in order of namespace and workload.
func (h *Hub) Sidecars() []*configpb.SidecarStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*configpb.SidecarStatus
	for _, k := range slices.SortedFunc(maps.Keys(h.sessions), compareKeys) {
		out = append(out, h.sessions[k].status())
	}
	return out
}

// Registered lists the workloads of the catalogue that have a sidecar, as not connected.
func (h *Hub) Registered() []*configpb.SidecarStatus {
	p := h.current.Load()
	if p == nil {
		return nil
	}
	var out []*configpb.SidecarStatus
	for k, w := range p.state.Workloads() {
		if w.MeshPort != 0 {
			out = append(out, &configpb.SidecarStatus{Namespace: k.Namespace, Workload: k.Name})
		}
	}
	return out
}

func (s *session) status() *configpb.SidecarStatus {
	v := s.snapshot()
	applied := v.acked
	if applied == (model.Vector{}) {
		applied = s.floor
	}
	out := &configpb.SidecarStatus{
		Namespace:    s.key.Namespace,
		Workload:     s.key.Name,
		SpiffeId:     s.spiffeID(),
		Connected:    true,
		Replica:      s.hub.deps.Replica,
		Applied:      modelpb.VectorToProto(applied),
		Behind:       v.behind,
		Nacks:        v.nacks,
		BuildVersion: s.build,
		ConnectTime:  timestamppb.New(s.opened),
	}
	if v.svidUntil != 0 {
		out.SvidExpireTime = timestamppb.New(time.Unix(v.svidUntil, 0))
	}
	for _, k := range slices.SortedFunc(maps.Keys(v.wants.services), compareKeys) {
		out.Services = append(out.Services, k.String())
	}
	return out
}

func (s *session) spiffeID() string {
	p := s.hub.current.Load()
	if p == nil {
		return ""
	}
	bundle, _ := p.state.Bundle().Body.(*compile.TrustBundle)
	return "spiffe://" + bundle.TrustDomain + "/ns/" + s.account.Namespace + "/sa/" + s.account.Name
}
