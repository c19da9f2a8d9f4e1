package snapshot

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

// Owner is whose configuration this is; resources made for somebody else are refused.
type Owner struct {
	TrustDomain spiffeid.TrustDomain
	Namespace   string
	Workload    string
	// Strict: this workload takes and sends nothing but mTLS, whatever the mesh's mode is.
	Strict bool
}

// State is one immutable state of everything that a sidecar holds. Apply makes the next one.
type State struct {
	owner   Owner
	held    map[string]*held          // accepted resources by name
	offered map[string]string         // version last received of each resource, accepted or not
	refused map[string]*configpb.Nack // what is refused now, by name
	index   *Index
	vector  *typepb.RevisionVector
}

// held is an accepted resource: as it came, and as it was understood.
type held struct {
	resource *configpb.Resource
	value    any // *table.Mesh, *table.Inbound, *table.Access, *table.Egress, *x509bundle.Bundle, *service, *endpoints or *table.Address
}

// New makes the empty state of an owner.
func New(owner Owner) *State {
	return &State{
		owner:   owner,
		held:    map[string]*held{},
		offered: map[string]string{},
		refused: map[string]*configpb.Nack{},
		index:   &Index{addresses: &byAddress{}},
	}
}

// Apply returns the state after an update and what of the update was refused, in the order of the update. The receiver stays
// as it is. The update's messages are kept: the caller must not change them afterwards.
func (s *State) Apply(u *configpb.Update) (*State, []*configpb.Nack) {
	next := &State{
		owner:   s.owner,
		held:    maps.Clone(s.held),
		offered: maps.Clone(s.offered),
		refused: maps.Clone(s.refused),
		index:   s.index,
		vector:  advance(s.vector, u.GetVector()),
	}
	var nacks []*configpb.Nack
	for _, name := range u.GetRemoved() {
		next.remove(name)
	}
	for _, r := range u.GetResources() {
		if nack := next.set(r); nack != nil {
			nacks = append(nacks, nack)
		}
	}
	if len(u.GetIndex()) > 0 {
		next.index = s.index.clone()
	}
	for _, shard := range u.GetIndex() {
		if nack := next.setShard(shard); nack != nil {
			nacks = append(nacks, nack)
		}
	}
	return next, nacks
}

func (s *State) remove(name string) {
	delete(s.held, name)
	delete(s.offered, name)
	delete(s.refused, name)
}

func (s *State) set(r *configpb.Resource) *configpb.Nack {
	name := r.GetName()
	s.offered[name] = r.GetVersion()
	value, err := decode(s.owner, r)
	if err != nil {
		nack := &configpb.Nack{Resource: name, Version: r.GetVersion(), Error: err.Error()}
		s.refused[name] = nack
		return nack
	}
	delete(s.refused, name)
	s.held[name] = &held{resource: r, value: value}
	return nil
}

func (s *State) setShard(pb *configpb.IndexShard) *configpb.Nack {
	name := fmt.Sprintf("index/%d", pb.GetShard())
	sh, err := newShard(pb)
	if err != nil {
		nack := &configpb.Nack{Resource: name, Version: pb.GetVersion(), Error: err.Error()}
		s.refused[name] = nack
		return nack
	}
	delete(s.refused, name)
	s.index.shards[pb.GetShard()] = sh
	return nil
}

// Vector is the state reached, for Open; the caller must not change it.
func (s *State) Vector() *typepb.RevisionVector { return s.vector }

// Versions are name and version of every accepted resource. A refused one counts as what was accepted before it, so that
// another replica sends it again and learns of the refusal.
func (s *State) Versions() map[string]string {
	versions := make(map[string]string, len(s.held))
	for name, h := range s.held {
		versions[name] = h.resource.GetVersion()
	}
	return versions
}

// Reopened is the state as it counts on a new stream: what was refused on the old one is not known to the new one's server, so
// it does not count in the digest until it is sent again.
func (s *State) Reopened() *State {
	next := *s
	next.offered = s.Versions()
	return &next
}

// IndexVersions are the shards held, in order.
func (s *State) IndexVersions() []*configpb.IndexShardVersion {
	var versions []*configpb.IndexShardVersion
	for i, sh := range s.index.shards {
		if sh != nil {
			versions = append(versions, &configpb.IndexShardVersion{Shard: uint32(i), Version: sh.version})
		}
	}
	return versions
}

// Refused lists what is refused now, in order of name.
func (s *State) Refused() []*configpb.Nack {
	nacks := make([]*configpb.Nack, 0, len(s.refused))
	for _, name := range slices.Sorted(maps.Keys(s.refused)) {
		nacks = append(nacks, s.refused[name])
	}
	return nacks
}

// Resources lists the accepted resources in order of name; the caller must not change them.
func (s *State) Resources() []*configpb.Resource {
	resources := make([]*configpb.Resource, 0, len(s.held))
	for _, name := range slices.Sorted(maps.Keys(s.held)) {
		resources = append(resources, s.held[name].resource)
	}
	return resources
}

// HasService says whether the body of a service ("namespace/name") is held.
func (s *State) HasService(name string) bool {
	_, ok := s.held[servicePrefix+name]
	return ok
}

// Bundle is the trust bundle with the revision of identity that it was made from; nil when none is held.
func (s *State) Bundle() (*x509bundle.Bundle, *typepb.SourceRevision) {
	h := s.held[bundleName]
	if h == nil {
		return nil, nil
	}
	var revision *typepb.SourceRevision
	for _, r := range h.resource.GetMadeFrom().GetRevisions() {
		if r.GetSource() == typepb.Source_SOURCE_IDENTITY {
			revision = r
		}
	}
	return h.value.(*x509bundle.Bundle), revision
}

// Empty says that nothing has ever been applied.
func (s *State) Empty() bool { return len(s.held) == 0 && s.index.Len() == 0 }

// IndexLen is the number of services of the mesh.
func (s *State) IndexLen() int { return s.index.Len() }

// ServiceOf is the service ("namespace/name") that the name of a body's resource speaks of; other names stay as they are.
func ServiceOf(resource string) string {
	return strings.TrimPrefix(resource, servicePrefix)
}
