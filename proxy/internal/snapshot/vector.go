package snapshot

import (
	"fmt"
	"slices"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

// CheckForward refuses an update that would lead backwards: the update's vector must not be behind what is held, source by
// source, as long as the epoch is the same. A source that the update does not mention stays where it is.
func (s *State) CheckForward(next *typepb.RevisionVector) error {
	for _, r := range next.GetRevisions() {
		have := find(s.vector, r.GetSource())
		if have != nil && have.GetEpoch() == r.GetEpoch() && r.GetSeq() < have.GetSeq() {
			return fmt.Errorf("update is at revision %d of %v, this sidecar has applied %d already", r.GetSeq(), r.GetSource(), have.GetSeq())
		}
	}
	return nil
}

// advance merges a vector into the one held.
func advance(have, next *typepb.RevisionVector) *typepb.RevisionVector {
	if next == nil {
		return have
	}
	merged := &typepb.RevisionVector{}
	for _, r := range have.GetRevisions() {
		if find(next, r.GetSource()) == nil {
			merged.Revisions = append(merged.Revisions, r)
		}
	}
	merged.Revisions = append(merged.Revisions, next.GetRevisions()...)
	slices.SortFunc(merged.Revisions, func(a, b *typepb.SourceRevision) int { return int(a.GetSource() - b.GetSource()) })
	return merged
}

func find(v *typepb.RevisionVector, source typepb.Source) *typepb.SourceRevision {
	for _, r := range v.GetRevisions() {
		if r.GetSource() == source {
			return r
		}
	}
	return nil
}
