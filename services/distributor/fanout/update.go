package fanout

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// next makes the update that is due, or nil: when one is under way, when nothing is to be said, and while this replica lags
// behind what the sidecar has applied.
func (s *session) next() (*rpc.Encoded, Sent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.hub.current.Load()
	if s.inflight != nil || p == nil || p.vector.Behind(s.floor) {
		return nil, Sent{}, nil
	}
	if err := s.owned(p.state); err != nil {
		return nil, Sent{}, err
	}
	if s.started && !s.asked && !s.partial && !s.digest && s.dirty.IsZero() {
		return nil, Sent{}, nil
	}
	s.round++
	b := &builder{session: s, state: p.state, plans: p.plans}
	if err := b.build(); err != nil {
		return nil, Sent{}, err
	}
	s.nonce++
	out, err := b.encode(&configpb.Update{
		Nonce: s.nonce, Removed: b.removed, Vector: modelpb.VectorToProto(p.vector), Current: !b.full, Digest: s.sum(),
	})
	if err != nil {
		return nil, Sent{}, err
	}
	s.inflight = &inflight{
		nonce: s.nonce, vector: p.vector, generation: p.generation, complete: !b.full, dirty: s.dirty, names: b.names,
	}
	s.started, s.asked, s.digest, s.partial = true, false, false, b.full
	if !b.full {
		s.dirty = time.Time{}
	}
	b.set.Full = b.set.Resources == b.wanted
	return out, b.set, nil
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
	session  *session
	state    *compile.State
	plans    *plans
	backends []model.Key // of all subscribed services
	parts    [][]byte    // resources and shards
	names    []string
	removed  []string
	unknown  bool // a subscribed service does not exist
	full     bool // something was left out for another update
	wanted   int  // resources that the sidecar should hold
	set      Sent
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
	for _, k := range s.subscriptions() {
		if err := b.addService(k); err != nil {
			return err
		}
	}
	if err := b.addAddresses(); err != nil {
		return err
	}
	s.want(b.backends)
	if !b.full {
		b.removeRest()
	}
	return nil
}

// add puts resources into the update that the sidecar lacks. They go together: only between calls may an update be cut.
func (b *builder) add(resources ...*compile.Resource) error {
	s := b.session
	for _, r := range resources {
		have, ok := s.sent[r.Name]
		if have.round != s.round {
			b.wanted++
		}
		if ok && have.version == r.Version {
			if have.round != s.round {
				s.sent[r.Name] = sent{r.Version, s.round} // which shares the strings of the state
			}
			continue
		}
		raw, err := b.bytes(r)
		if err != nil {
			return err
		}
		if !ok {
			s.names = nil
		}
		b.put(raw, r.Name)
		b.set.Resources++
		s.sent[r.Name] = sent{r.Version, s.round}
	}
	return nil
}

func (b *builder) put(raw []byte, name string) {
	b.parts = append(b.parts, raw)
	b.names = append(b.names, name)
	b.set.Bytes += len(raw)
}

// bytes are shared between sidecars, but for what is made anew each time: the resource of an unregistered workload, and what is
// at an address.
func (b *builder) bytes(r *compile.Resource) ([]byte, error) {
	_, address := r.Body.(*compile.Address)
	if address || r.Name == compile.NameInbound && !b.state.Registered(b.session.key) {
		return (&encoder{}).resource(r)
	}
	return b.session.hub.encoder.resource(r)
}

// large says that the update is so large that what is left waits for another one.
func (b *builder) large() bool {
	if b.set.Bytes >= b.session.hub.cfg.UpdateBytes {
		b.full = true
	}
	return b.full
}

func (b *builder) addIndex() error {
	held, now := b.session.index, b.plans.index
	if held == now {
		return nil
	}
	next := *held // of an update that is cut
	for n := range uint32(compile.Shards) {
		shard := b.state.Shard(n)
		if held[n] == shard.Version || held[n] == "" && len(shard.Entries) == 0 {
			continue
		}
		if b.large() {
			b.session.index = &next
			return nil
		}
		raw, err := b.session.hub.encoder.shard(shard)
		if err != nil {
			return err
		}
		b.put(raw, shardName(n))
		b.set.Shards++
		next[n] = shard.Version
	}
	b.session.index = now
	return nil
}

// addService adds what a subscription needs, all of it or nothing, and notes the backends whose endpoints the sidecar holds.
func (b *builder) addService(k model.Key) error {
	s := b.session
	plan := b.plans.of(k)
	if plan.closure == nil {
		b.answerUnknown(k)
		return nil
	}
	delete(s.unknown, k)
	b.backends = append(b.backends, plan.backends...)
	lacks := func(r *compile.Resource) bool { return s.sent[r.Name].version != r.Version }
	if slices.ContainsFunc(plan.closure, lacks) && b.large() {
		return nil
	}
	return b.add(plan.closure...)
}

// addAddresses adds what is at the addresses that were asked for, also when it is nothing.
func (b *builder) addAddresses() error {
	s := b.session
	for _, a := range slices.SortedFunc(maps.Keys(s.asksAt), netip.Addr.Compare) {
		r := b.state.Address(a)
		if s.sent[r.Name].version != r.Version && b.large() {
			return nil
		}
		if err := b.add(r); err != nil {
			return err
		}
	}
	return nil
}

// answerUnknown says once that there is no such service. What the sidecar holds of it is removed with the rest.
func (b *builder) answerUnknown(k model.Key) {
	b.unknown = true
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
	if b.wanted < len(s.sent) {
		for _, name := range s.held() {
			if s.sent[name].round == s.round {
				continue
			}
			delete(s.sent, name)
			b.removed = append(b.removed, name)
			b.names = append(b.names, name)
		}
		s.names = nil
	}
	if !b.unknown {
		return
	}
	for k := range s.wants.services {
		if b.state.Service(k) == nil {
			s.unknown[k] = true // either removed now or answered before
		}
	}
}

// fieldUpdate is the number of the field of StreamResponse that holds an update.
const fieldUpdate protowire.Number = 1

// encode makes the message, a StreamResponse, of what is said in this update only and of the parts that are shared: they are
// encoded fields of an Update already, and protobuf takes the fields of a message in any order.
func (b *builder) encode(own *configpb.Update) (*rpc.Encoded, error) {
	head, err := proto.Marshal(own)
	if err != nil {
		return nil, fmt.Errorf("encode update: %w", err)
	}
	size := len(head) + b.set.Bytes
	first := make([]byte, 0, len(head)+2*protowire.SizeVarint(uint64(size)))
	first = protowire.AppendTag(first, fieldUpdate, protowire.BytesType)
	first = protowire.AppendVarint(first, uint64(size))
	return &rpc.Encoded{Parts: append([][]byte{append(first, head...)}, b.parts...)}, nil
}
