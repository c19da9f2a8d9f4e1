package fanout

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

// errReplaced ends a stream whose sidecar has opened another one.
var errReplaced = fault.New(fault.Conflict, "the sidecar has opened a newer stream at this replica")

// session is one sidecar's stream. Its goroutines are the one that sends and the one that receives; the hub's publisher looks
// in. mu is never held while something is sent.
type session struct {
	hub     *Hub
	key     model.Key
	account compile.Account
	opened  time.Time
	build   string
	floor   model.Vector  // what the sidecar had applied when it opened: never send less
	wake    chan struct{} // there may be something to send
	ended   chan struct{} // closed when the stream has to end
	endOnce sync.Once
	err     error // why; read after ended

	mu       sync.Mutex
	wants    wants
	subs     map[model.Key]bool  // never changed once here: wants shares it
	order    []model.Key         // subs in order; nil: to be made
	asksAt   map[netip.Addr]bool // addresses that were asked for; never changed once here, as subs
	backends []model.Key         // other services that the rules of subs name
	sent     map[string]sent
	names    []string // of sent, in order; nil: to be made
	round    uint32   // counts updates
	index    *indexVersions
	unknown  map[model.Key]bool // subscriptions answered with "no such service"
	nonce    uint64
	inflight *inflight
	started  bool      // an update has been sent
	asked    bool      // subscriptions changed since the last update
	partial  bool      // the last update left something out for its size
	digest   bool      // it is time to say that all is as it was
	dirty    time.Time // when the oldest change that concerns this sidecar and is not sent was compiled; zero: none
	// acked is the vector of the newest complete update that was acknowledged on this stream, with its generation.
	acked     model.Vector
	ackedGen  uint64
	nacks     map[string]*configpb.Nack
	svidUntil int64
}

// inflight is the update that waits for its ack.
type inflight struct {
	nonce      uint64
	vector     model.Vector
	generation uint64
	complete   bool
	dirty      time.Time
	names      []string // of what it set or removed
}

// view is what others see of a session at one moment.
type view struct {
	wants     wants
	started   bool
	acked     model.Vector // zero until the first ack of a complete update
	behind    bool
	nacks     []*configpb.Nack
	svidUntil int64
}

func (s *session) snapshot() view {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.look()
}

// look is snapshot for callers that hold mu.
func (s *session) look() view {
	v := view{
		wants:     s.wants,
		started:   s.started,
		acked:     s.acked,
		behind:    s.inflight != nil || !s.started || s.partial || !s.dirty.IsZero(),
		svidUntil: s.svidUntil,
	}
	if len(s.nacks) == 0 {
		return v
	}
	for _, name := range slices.Sorted(maps.Keys(s.nacks)) {
		v.nacks = append(v.nacks, s.nacks[name])
	}
	return v
}

// published tells the session of a new state. The hub's lock is held: nothing here may wait.
func (s *session) published(p *published) {
	s.mu.Lock()
	defer s.mu.Unlock()
	concerned := s.wants.touched(p.changes, p.state)
	if concerned && s.dirty.IsZero() {
		s.dirty = p.at
	}
	if concerned || !s.started {
		s.poke()
	}
}

// end makes the stream end with an error, once.
func (s *session) end(err error) {
	s.endOnce.Do(func() {
		s.err = err
		close(s.ended)
	})
}

func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// subscribe changes the subscriptions.
func (s *session) subscribe(r *configpb.Subscribe) error {
	adding, err := keys("subscribe.add", r.GetAdd())
	if err != nil {
		return err
	}
	removing, err := keys("subscribe.remove", r.GetRemove())
	if err != nil {
		return err
	}
	addAddresses, err := addressList("subscribe.add_addresses", r.GetAddAddresses())
	if err != nil {
		return err
	}
	removeAddresses, err := addressList("subscribe.remove_addresses", r.GetRemoveAddresses())
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	subs := maps.Clone(s.subs)
	for _, k := range removing {
		delete(subs, k)
		delete(s.unknown, k)
	}
	for _, k := range adding {
		subs[k] = true
		delete(s.unknown, k) // whoever asks again is answered again
	}
	s.subs, s.order = subs, nil
	if len(s.subs) > s.hub.cfg.MaxServices {
		return fault.New(fault.Invalid, "a sidecar may subscribe to %d services at most", s.hub.cfg.MaxServices)
	}
	if len(addAddresses) > 0 || len(removeAddresses) > 0 {
		s.asksAt = changed(s.asksAt, addAddresses, removeAddresses)
	}
	if len(s.asksAt) > s.hub.cfg.MaxAddresses {
		return fault.New(fault.Invalid, "a sidecar may subscribe to %d addresses at most", s.hub.cfg.MaxAddresses)
	}
	s.asked = true
	s.poke()
	return nil
}

// changed is another set with some addresses more and some less.
func changed(set map[netip.Addr]bool, add, remove []netip.Addr) map[netip.Addr]bool {
	out := make(map[netip.Addr]bool, len(set)+len(add))
	maps.Copy(out, set)
	for _, a := range remove {
		delete(out, a)
	}
	for _, a := range add {
		out[a] = true
	}
	return out
}

// ack takes the answer to the update under way.
func (s *session) ack(a *configpb.Ack) error {
	now := s.hub.deps.Now()
	s.mu.Lock()
	u := s.inflight
	if u == nil || u.nonce != a.GetNonce() {
		s.mu.Unlock()
		return fault.New(fault.Invalid, "ack of update %d, which is not the one under way", a.GetNonce())
	}
	s.inflight = nil
	for _, name := range u.names {
		delete(s.nacks, name)
	}
	for _, n := range a.GetNacks() {
		s.nacks[n.GetResource()] = n
	}
	if a.GetSvidExpireSeconds() != 0 {
		s.svidUntil = a.GetSvidExpireSeconds()
	}
	after := s.ackedGen
	if u.complete {
		s.acked, s.ackedGen = u.vector, u.generation
	}
	s.poke()
	s.mu.Unlock()

	var lag time.Duration
	if !u.dirty.IsZero() && u.complete {
		lag = max(now.Sub(u.dirty), 1)
	}
	s.hub.deps.Observer.UpdateAcked(lag, len(a.GetNacks()))
	if u.complete {
		s.hub.acked(s, after, u.generation, now)
	}
	return nil
}
