package fanout

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/model"
)

// digestSize is how much of the hash goes into an update.
const digestSize = 8

// sent is a resource that a sidecar was sent or said to hold.
type sent struct {
	version string
	round   uint32 // the session's round in which it was last wanted
}

// indexVersions are the versions of the shards of the index that a sidecar holds. Never changed once a session has it: all that
// hold the same share one.
type indexVersions [compile.Shards]string

// versionsOf are those of a state.
func versionsOf(state *compile.State) *indexVersions {
	var out indexVersions
	for n := range uint32(compile.Shards) {
		out[n] = state.Shard(n).Version
	}
	return &out
}

// held lists the names of what the sidecar holds, in order. The list is kept until a name comes or goes: most changes are to
// what is there. The caller holds mu.
func (s *session) held() []string {
	if s.names == nil {
		s.names = slices.AppendSeq(make([]string, 0, len(s.sent)), maps.Keys(s.sent))
		slices.Sort(s.names)
	}
	return s.names
}

// sum is Update.digest.
func (s *session) sum() []byte {
	hash := sha256.New()
	var text []byte
	for _, name := range s.held() {
		text = append(append(text[:0], name...), 0)
		text = append(append(text, s.sent[name].version...), '\n')
		hash.Write(text)
	}
	return hash.Sum(nil)[:digestSize]
}

// subscriptions lists the subscribed services, in order. The caller holds mu.
func (s *session) subscriptions() []model.Key {
	if s.order == nil {
		s.order = slices.SortedFunc(maps.Keys(s.subs), compareKeys)
		s.wants.services = nil // of other subscriptions
	}
	return s.order
}

// want notes what concerns the sidecar, if that has changed: its subscriptions, and the backends that they name. The caller
// holds mu.
func (s *session) want(backends []model.Key) {
	if s.wants.services != nil && slices.Equal(s.backends, backends) {
		return
	}
	w := wants{workload: s.key, account: s.account, services: s.subs, endpoints: s.subs, addresses: s.asksAt}
	if len(backends) > 0 {
		w.endpoints = maps.Clone(s.subs)
		for _, k := range backends {
			w.endpoints[k] = true
		}
	}
	s.wants, s.backends = w, backends
}

// shardPrefix begins the names by which shards of the index are spoken of in refusals.
const shardPrefix = "index/"

func shardName(number uint32) string { return fmt.Sprint(shardPrefix, number) }

func isShard(name string) bool { return strings.HasPrefix(name, shardPrefix) }

func compareKeys(a, b model.Key) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}
