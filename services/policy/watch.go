package policy

import (
	"google.golang.org/grpc"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/resource"
	"github.com/weft-mesh/weft/services/internal/state"
)

// Watch streams all policy from a revision on.
func (s *Service) Watch(req *policypb.WatchRequest, stream grpc.ServerStreamingServer[policypb.WatchResponse]) error {
	return resource.Watch(stream.Context(), s.feed, req.GetResumeFrom(), func(step state.Step) error {
		out := &policypb.WatchResponse{Reset_: step.Reset, Complete: step.Complete, Revision: modelpb.RevisionToProto(step.Revision)}
		for _, c := range step.Changes {
			out.Changes = append(out.Changes, change(c))
		}
		return stream.Send(out)
	})
}

func change(c state.Change) *policypb.Change {
	switch object := c.Object.(type) {
	case model.Route:
		return &policypb.Change{Object: &policypb.Change_Route{Route: modelpb.RouteToProto(object)}}
	case model.AccessPolicy:
		return &policypb.Change{Object: &policypb.Change_AccessPolicy{AccessPolicy: modelpb.AccessPolicyToProto(object)}}
	case model.MeshConfig:
		return &policypb.Change{Object: &policypb.Change_MeshConfig{MeshConfig: modelpb.MeshConfigToProto(object)}}
	case model.ExternalService:
		return &policypb.Change{Object: &policypb.Change_ExternalService{ExternalService: modelpb.ExternalServiceToProto(object)}}
	default:
		return &policypb.Change{Object: &policypb.Change_Removed{Removed: resource.Removed(c)}}
	}
}
