package discovery

import (
	"google.golang.org/grpc"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/resource"
	"github.com/weft-mesh/weft/services/internal/state"
)

// Watch streams the catalogue from a revision on.
func (s *server) Watch(req *discoverypb.WatchRequest, stream grpc.ServerStreamingServer[discoverypb.WatchResponse]) error {
	return resource.Watch(stream.Context(), s.feed, req.GetResumeFrom(), func(step state.Step) error {
		out := &discoverypb.WatchResponse{Reset_: step.Reset, Complete: step.Complete, Revision: modelpb.RevisionToProto(step.Revision)}
		for _, c := range step.Changes {
			out.Changes = append(out.Changes, change(c))
		}
		return stream.Send(out)
	})
}

func change(c state.Change) *discoverypb.Change {
	switch object := c.Object.(type) {
	case model.Service:
		return &discoverypb.Change{Object: &discoverypb.Change_Service{Service: modelpb.ServiceToProto(object)}}
	case model.Workload:
		return &discoverypb.Change{Object: &discoverypb.Change_Workload{Workload: modelpb.WorkloadToProto(object)}}
	default:
		return &discoverypb.Change{Object: &discoverypb.Change_Removed{Removed: resource.Removed(c)}}
	}
}
