package gateway

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	"github.com/weft-mesh/weft/services/gateway/audit"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// ListAuditEvents reads a page of what was changed and what was refused.
func (s *Service) ListAuditEvents(ctx context.Context, req *adminpb.ListAuditEventsRequest) (*adminpb.ListAuditEventsResponse, error) {
	return s.log.List(ctx, readerOf(ctx), req)
}

// WatchAuditEvents sends what is written from now on, after what is wanted of the past.
func (s *Service) WatchAuditEvents(req *adminpb.WatchAuditEventsRequest, stream grpc.ServerStreamingServer[adminpb.WatchAuditEventsResponse]) error {
	begun := func() error { return stream.SendHeader(metadata.MD{}) } // the client learns now that it was let in
	return s.log.Watch(stream.Context(), readerOf(stream.Context()), req.GetFilter(), begun, func(e *adminpb.AuditEvent) error {
		return stream.Send(&adminpb.WatchAuditEventsResponse{Event: e})
	})
}

func readerOf(ctx context.Context) audit.Reader {
	namespaces, all := callerOf(ctx).Namespaces()
	return audit.Reader{Namespaces: namespaces, All: all}
}

// WhoAmI says who the caller is and what it may do.
func (s *Service) WhoAmI(ctx context.Context, _ *adminpb.WhoAmIRequest) (*adminpb.WhoAmIResponse, error) {
	who := callerOf(ctx)
	out := &adminpb.WhoAmIResponse{Principal: who.ID, Credential: who.Credential}
	for _, g := range who.Grants {
		out.Grants = append(out.Grants, modelpb.GrantToProto(g))
	}
	return out, nil
}
