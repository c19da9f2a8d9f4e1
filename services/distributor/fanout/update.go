package fanout

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// digestSize is how much of the hash goes into an update.
const digestSize = 8

// next makes the update that is due, or nil: when one is under way, when nothing is to be said, and while this replica lags
// behind what the sidecar has applied.
func (s *session) next() (*configpb.Update, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.hub.current.Load()
	if s.inflight != nil || p == nil || p.vector.Behind(s.floor) {
		return nil, nil
	}
	if err := s.owned(p.state); err != nil {
		return nil, err
	}
	if s.started && !s.asked && !s.partial && !s.digest && s.dirty.IsZero() {
		return nil, nil
	}
	b := &builder{session: s, state: p.state, wanted: map[string]bool{}}
	if err := b.build(); err != nil {
		return nil, err
	}
	s.nonce++
	s.inflight = &inflight{
		nonce: s.nonce, vector: p.vector, generation: p.generation, complete: !b.full, dirty: s.dirty, names: b.names,
	}
	s.started, s.asked, s.digest, s.partial = true, false, false, b.full
	if !b.full {
		s.dirty = time.Time{}
	}
	out := &configpb.Update{
		Nonce:   s.nonce,
		Removed: b.removed,
		Vector:  modelpb.VectorToProto(p.vector),
		Current: !b.full,
		Digest:  digest(s.sent),
	}
	// Resources and shards are there already as encoded fields of an Update; the library writes unknown fields as they are.
	out.ProtoReflect().SetUnknown(b.raw)
	return out, nil
}

// owned checks that the workload is still, or has become, that of the stream's account.
func (s *session) owned(state *compile.State) error {
	w, ok := state.Workload(s.key)
	if ok && compile.AccountOf(w) != s.account {
		return fault.New(fault.Denied, "workload %q belongs to account %q; the caller is %q", s.key, w.Account, s.account.Name)
	}
	return nil
}

// builder collects what one update has to say. The session's lock is held.
type builder struct {
	session *session
	state   *compile.State
	wanted  map[string]bool // names that the sidecar should hold
	raw     []byte
	names   []string
	removed []string
	full    bool // something was left out for another update
}

func (b *builder) build() error {
	s := b.session
	own := b.state.Inbound(s.key, s.account.Name)
	if err := b.add(b.state.Mesh(), b.state.Bundle(), b.state.Egress(), own, b.state.Access(s.account)); err != nil {
		return err
	}
	if err := b.addIndex(); err != nil {
		return err
	}
	w := wants{
		workload: s.key, account: s.account, services: map[model.Key]bool{}, endpoints: map[model.Key]bool{}, addresses: maps.Clone(s.addresses),
	}
	for _, k := range slices.SortedFunc(maps.Keys(s.subs), compareKeys) {
		w.services[k] = true
		if err := b.addService(k, w.endpoints); err != nil {
			return err
		}
	}
	if err := b.addAddresses(); err != nil {
		return err
	}
	s.wants = w
	if !b.full {
		b.removeRest()
	}
	return nil
}

// add puts resources into the update that the sidecar lacks. They go together: only between calls may an update be cut.
func (b *builder) add(resources ...*compile.Resource) error {
	for _, r := range resources {
		b.wanted[r.Name] = true
		if b.session.sent[r.Name] == r.Version {
			continue
		}
		raw, err := b.encode(r)
		if err != nil {
			return err
		}
		b.raw = append(b.raw, raw...)
		b.names = append(b.names, r.Name)
		b.session.sent[r.Name] = r.Version
	}
	return nil
}

// encode shares bytes between sidecars, but for what is made anew each time: the resource of an unregistered workload, and what
// is at an address.
func (b *builder) encode(r *compile.Resource) ([]byte, error) {
	_, address := r.Body.(*compile.Address)
	if address || r.Name == compile.NameInbound && !b.state.Registered(b.session.key) {
		return (&encoder{}).resource(r)
	}
	return b.session.hub.encoder.resource(r)
}

// large says that the update is so large that what is left waits for another one.
func (b *builder) large() bool {
	if len(b.raw) >= b.session.hub.cfg.UpdateBytes {
		b.full = true
	}
	return b.full
}

func (b *builder) addIndex() error {
	held := &b.session.index
	for n := range uint32(compile.Shards) {
		shard := b.state.Shard(n)
		if held[n] == shard.Version || held[n] == "" && len(shard.Entries) == 0 {
			continue
		}
		if b.large() {
			return nil
		}
		raw, err := b.session.hub.encoder.shard(shard)
		if err != nil {
			return err
		}
		b.raw = append(b.raw, raw...)
		b.names = append(b.names, shardName(n))
		held[n] = shard.Version
	}
	return nil
}

// addService adds what a subscription needs, all of it or nothing, and notes the endpoints that it makes the sidecar hold.
func (b *builder) addService(k model.Key, endpoints map[model.Key]bool) error {
	closure := b.state.Closure(k)
	endpoints[k] = true
	if closure == nil {
		b.answerUnknown(k)
		return nil
	}
	delete(b.session.unknown, k)
	missing := false
	for _, r := range closure {
		b.wanted[r.Name] = true
		missing = missing || b.session.sent[r.Name] != r.Version
	}
	for _, key := range b.state.Backends(k) {
		endpoints[key] = true
	}
	if !missing || b.large() {
		return nil
	}
	return b.add(closure...)
}

// addAddresses adds what is at the addresses that were asked for, also when it is nothing.
func (b *builder) addAddresses() error {
	for _, a := range slices.SortedFunc(maps.Keys(b.session.addresses), netip.Addr.Compare) {
		r := b.state.Address(a)
		b.wanted[r.Name] = true
		if b.session.sent[r.Name] == r.Version || b.large() {
			continue
		}
		if err := b.add(r); err != nil {
			return err
		}
	}
	return nil
}

// answerUnknown says once that there is no such service. What the sidecar holds of it is removed with the rest.
func (b *builder) answerUnknown(k model.Key) {
	s, name := b.session, compile.ServiceName(k)
	if _, held := s.sent[name]; held || s.unknown[k] {
		return
	}
	s.unknown[k] = true
	b.removed = append(b.removed, name)
}

// removeRest takes away what the sidecar holds and should not: never before all that it should hold has been sent.
func (b *builder) removeRest() {
	s := b.session
	for _, name := range slices.Sorted(maps.Keys(s.sent)) {
		if b.wanted[name] {
			continue
		}
		delete(s.sent, name)
		b.removed = append(b.removed, name)
		b.names = append(b.names, name)
	}
	for k := range s.subs {
		if b.state.Service(k) == nil {
			s.unknown[k] = true // either removed now or answered before
		}
	}
}

func digest(sent map[string]string) []byte {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		sum.Write([]byte(name + "\x00" + sent[name] + "\n"))
	}
	return sum.Sum(nil)[:digestSize]
}

// shardPrefix begins the names by which shards of the index are spoken of in refusals.
const shardPrefix = "index/"

func shardName(number uint32) string { return fmt.Sprint(shardPrefix, number) }

func isShard(name string) bool { return strings.HasPrefix(name, shardPrefix) }

func compareKeys(a, b model.Key) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}
