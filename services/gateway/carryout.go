package gateway

import (
	"cmp"
	"context"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/manifest"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// maxTries bounds how often a write is tried again because somebody else wrote in between.
const maxTries = 5

// rank orders the kinds so that what is referred to is there first, what shall still be called is named before the mesh
// narrows what may be, and access is narrowed before traffic is moved.
func rank(kind string) int {
	return slices.Index([]string{
		model.KindRoleBinding, model.KindService, model.KindWorkload, model.KindExternalService, model.KindMeshConfig,
		model.KindAccessPolicy, model.KindRoute,
	}, kind)
}

// carryOut writes every object and returns what to wait for. What fails is reported and stops nothing else.
func carryOut(ctx context.Context, steps []*step) *typepb.RevisionVector {
	ordered := slices.Clone(steps)
	slices.SortStableFunc(ordered, func(a, b *step) int { return cmp.Compare(rank(a.kind.name), rank(b.kind.name)) })
	var revisions []*typepb.SourceRevision
	for _, st := range ordered {
		result, err := st.write(ctx)
		if err != nil {
			st.outcome.Action = adminpb.ApplyAction_APPLY_ACTION_FAILED
			st.outcome.Error = err.Error()
			continue
		}
		st.outcome.Action = st.done(result)
		st.outcome.Object.Etag = result.object.GetMetadata().GetEtag()
		for _, w := range result.warnings {
			st.warn(model.Violation{Path: w.GetField(), Problem: w.GetMessage()})
		}
		revisions = newest(revisions, result.revision)
	}
	return &typepb.RevisionVector{Revisions: revisions}
}

// write writes one object. When somebody else wrote it in between, it is read and written again: a manifest without an etag
// says what the object shall be, whatever it is.
func (s *step) write(ctx context.Context) (written, error) {
	for try := 1; ; try++ {
		result, err := s.send(ctx, false)
		err = rpc.FaultOf(err)
		raced := fault.Is(err, fault.Conflict) || fault.Is(err, fault.Exists) || fault.Is(err, fault.NotFound)
		if err == nil || !raced || s.guarded || try == maxTries {
			return result, err
		}
		if err := s.read(ctx); err != nil {
			return written{}, err
		}
	}
}

// done says what a write did: an owner that finds nothing changed keeps the etag.
func (s *step) done(result written) adminpb.ApplyAction {
	switch {
	case s.existing == nil:
		return adminpb.ApplyAction_APPLY_ACTION_CREATED
	case s.existing.GetMetadata().GetEtag() == result.object.GetMetadata().GetEtag():
		return adminpb.ApplyAction_APPLY_ACTION_UNCHANGED
	}
	return adminpb.ApplyAction_APPLY_ACTION_UPDATED
}

// foretell says what a write would do.
func foretell(st *step) adminpb.ApplyAction {
	switch {
	case st.existing == nil:
		return adminpb.ApplyAction_APPLY_ACTION_CREATED
	case same(st.existing, st.checked.object):
		return adminpb.ApplyAction_APPLY_ACTION_UNCHANGED
	}
	return adminpb.ApplyAction_APPLY_ACTION_UPDATED
}

// same compares what people write of two objects: spec and labels.
func same(a, b manifest.Object) bool {
	field := func(o manifest.Object, name protoreflect.Name) protoreflect.Value {
		m := o.ProtoReflect()
		return m.Get(m.Descriptor().Fields().ByName(name))
	}
	if !proto.Equal(field(a, "spec").Message().Interface(), field(b, "spec").Message().Interface()) {
		return false
	}
	return proto.Equal(&typepb.ObjectMeta{Labels: a.GetMetadata().GetLabels()}, &typepb.ObjectMeta{Labels: b.GetMetadata().GetLabels()})
}

// newest keeps the highest revision of each source, in order of source.
func newest(all []*typepb.SourceRevision, r *typepb.SourceRevision) []*typepb.SourceRevision {
	if r == nil {
		return all
	}
	for i, have := range all {
		if have.GetSource() == r.GetSource() {
			if have.GetEpoch() != r.GetEpoch() || have.GetSeq() < r.GetSeq() {
				all[i] = r
			}
			return all
		}
	}
	all = append(all, r)
	slices.SortFunc(all, func(a, b *typepb.SourceRevision) int { return cmp.Compare(a.GetSource(), b.GetSource()) })
	return all
}
