package modelpb

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
)

func metaToProto(m model.Meta) *typepb.ObjectMeta {
	return &typepb.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, Labels: labels(m.Labels), Etag: m.Etag, Origin: m.Origin,
		CreateTime: momentToProto(m.CreateTime), UpdateTime: momentToProto(m.UpdateTime),
	}
}

func momentToProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func durationToProto(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// RefToProto names one version of one object.
func RefToProto(r model.Ref) *typepb.ObjectRef {
	return &typepb.ObjectRef{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, Etag: r.Etag}
}

// RefFromProto reads a reference.
func RefFromProto(r *typepb.ObjectRef) model.Ref {
	return model.Ref{Kind: r.GetKind(), Key: Key(r.GetNamespace(), r.GetName()), Etag: r.GetEtag()}
}

// WarningsToProto turns what the model noticed into warnings.
func WarningsToProto(vs []model.Violation) []*typepb.Warning {
	var out []*typepb.Warning
	for _, v := range vs {
		out = append(out, &typepb.Warning{Field: v.Path, Message: v.Problem})
	}
	return out
}
