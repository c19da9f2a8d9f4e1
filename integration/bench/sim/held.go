package sim

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

var errDigest = errors.New("this sidecar does not hold what the distributor believes")

// held is what one sidecar holds: versions instead of contents. It belongs to the goroutine of the stream.
type held struct {
	versions map[string]string
	index    map[uint32]string
	vector   *typepb.RevisionVector // nil before the first update
	current  bool                   // the stream has sent everything
}

func newHeld() held { return held{versions: map[string]string{}, index: map[uint32]string{}} }

// apply takes an update as the contract of the config stream says: never backwards, and what is held afterwards has the digest
// that the update states.
func (h *held) apply(u *configpb.Update) error {
	for _, next := range u.GetVector().GetRevisions() {
		have := revision(h.vector, next.GetSource())
		if have.GetEpoch() == next.GetEpoch() && next.GetSeq() < have.GetSeq() {
			return fmt.Errorf("update leads back from %v to %v", have, next)
		}
	}
	for _, name := range u.GetRemoved() {
		delete(h.versions, name)
	}
	for _, r := range u.GetResources() {
		if r.GetBody() == nil {
			return fmt.Errorf("resource %q has no body", r.GetName())
		}
		h.versions[r.GetName()] = r.GetVersion()
	}
	for _, s := range u.GetIndex() {
		h.index[s.GetShard()] = s.GetVersion()
	}
	h.vector = u.GetVector()
	h.current = h.current || u.GetCurrent()
	if h.current && string(u.GetDigest()) != string(h.digest()) {
		return errDigest
	}
	return nil
}

// digest is that of Update.digest.
func (h *held) digest() []byte {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(h.versions)) {
		sum.Write([]byte(name + "\x00" + h.versions[name] + "\n"))
	}
	return sum.Sum(nil)[:8]
}

// revision is the one of a source in a vector, or nil.
func revision(v *typepb.RevisionVector, of typepb.Source) *typepb.SourceRevision {
	for _, r := range v.GetRevisions() {
		if r.GetSource() == of {
			return r
		}
	}
	return nil
}

// open says what is held.
func (h *held) open(spec Sidecar) *configpb.Open {
	h.current = false
	out := &configpb.Open{
		Namespace: Namespace, Workload: spec.Name, Services: spec.Wants, BuildVersion: "sim", InitialVersions: h.versions, Applied: h.vector,
	}
	for shard, version := range h.index {
		out.IndexVersions = append(out.IndexVersions, &configpb.IndexShardVersion{Shard: shard, Version: version})
	}
	return out
}
