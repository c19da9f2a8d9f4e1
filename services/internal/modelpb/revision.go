package modelpb

import (
	"fmt"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

// RevisionToProto puts a revision on the wire; one without an epoch (nothing seen) is nil.
func RevisionToProto(r model.Revision) *typepb.SourceRevision {
	if r.Epoch == "" {
		return nil
	}
	return &typepb.SourceRevision{Source: typepb.Source(r.Source), Epoch: r.Epoch, Seq: r.Seq}
}

// RevisionFromProto reads a revision; nil is the zero value: nothing seen.
func RevisionFromProto(r *typepb.SourceRevision) (model.Revision, error) {
	if r == nil {
		return model.Revision{}, nil
	}
	var d decoder
	out := model.Revision{Source: d.source("source", r.GetSource()), Epoch: r.GetEpoch(), Seq: r.GetSeq()}
	if r.GetEpoch() == "" {
		d.add("epoch", "is missing; every revision says which history it is of")
	}
	return out, fault.InvalidFields("revision", d.problems)
}

func (d *decoder) source(path string, s typepb.Source) model.Source {
	if s == typepb.Source_SOURCE_UNSPECIFIED {
		d.add(path, "is missing; must be policy, discovery or identity")
		return 0
	}
	return enum[model.Source](d, path, s, typepb.Source_SOURCE_IDENTITY, "policy, discovery or identity")
}

// VectorToProto puts a vector on the wire.
func VectorToProto(v model.Vector) *typepb.RevisionVector {
	out := &typepb.RevisionVector{}
	for _, r := range v.Revisions() {
		out.Revisions = append(out.Revisions, RevisionToProto(r))
	}
	return out
}

// VectorFromProto reads a vector; nil is the zero value: nothing seen.
func VectorFromProto(v *typepb.RevisionVector) (model.Vector, error) {
	var out model.Vector
	for i, p := range v.GetRevisions() {
		r, err := RevisionFromProto(p)
		if err != nil {
			return model.Vector{}, fmt.Errorf("revision %d of the vector: %w", i, err)
		}
		out = out.With(r)
	}
	return out, nil
}
