package sim

import (
	"errors"
	"testing"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

func at(seq uint64) *typepb.RevisionVector {
	return &typepb.RevisionVector{Revisions: []*typepb.SourceRevision{{Source: typepb.Source_SOURCE_POLICY, Epoch: "e", Seq: seq}}}
}

func mesh(version string) *configpb.Resource {
	return &configpb.Resource{Name: "mesh", Version: version, Body: &configpb.Resource_Mesh{Mesh: &configpb.Mesh{}}}
}

// TestHeldFollowsTheContract: a simulated sidecar is as strict as a real one about what the numbers depend on.
func TestHeldFollowsTheContract(t *testing.T) {
	h := newHeld()
	expect := newHeld()
	expect.versions["mesh"] = "1"
	first := &configpb.Update{
		Resources: []*configpb.Resource{mesh("1")}, Index: []*configpb.IndexShard{{Shard: 3, Version: "i"}},
		Vector: at(5), Current: true, Digest: expect.digest(),
	}
	if err := h.apply(first); err != nil {
		t.Fatal(err)
	}
	open := h.open(Sidecar{Name: "w", Wants: []string{"sim/a"}})
	if open.GetInitialVersions()["mesh"] != "1" || open.GetIndexVersions()[0].GetVersion() != "i" || open.GetApplied().GetRevisions()[0].GetSeq() != 5 {
		t.Errorf("opens with %v", open)
	}
	if err := h.apply(&configpb.Update{Vector: at(4)}); err == nil {
		t.Error("went back")
	}
	if err := h.apply(&configpb.Update{Vector: at(6), Current: true, Digest: []byte("other")}); !errors.Is(err, errDigest) {
		t.Errorf("wrong digest: %v", err)
	}
	if err := h.apply(&configpb.Update{Vector: at(7), Resources: []*configpb.Resource{{Name: "x", Version: "1"}}}); err == nil {
		t.Error("took a resource without a body")
	}
	if err := h.apply(&configpb.Update{Vector: at(8), Removed: []string{"mesh"}, Current: true, Digest: newHeldDigest()}); err != nil || len(h.versions) != 0 {
		t.Errorf("after removal: %v, holds %v", err, h.versions)
	}
}

func newHeldDigest() []byte {
	h := newHeld()
	return h.digest()
}
