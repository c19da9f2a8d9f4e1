package fanout

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/model"
)

// Config bounds what the hub does.
type Config struct {
	// Digest is the longest time between two updates of a stream.
	Digest time.Duration
	// AdmitPerSecond and AdmitBurst bound how fast streams are taken, so that a storm of reconnects does not starve changes.
	AdmitPerSecond float64
	AdmitBurst     int
	// OpenWait is how long a stream may take to open, and wait for a first state.
	OpenWait time.Duration
	// CatchUp is how long a stream waits for this replica to reach what the sidecar has applied, before it is sent away.
	CatchUp time.Duration
	// UpdateBytes is how large an update may grow before the rest goes into another one. What belongs together stays together.
	UpdateBytes int
	// MaxServices bounds the subscriptions of one sidecar.
	MaxServices int
	// MaxAddresses bounds the IP addresses that one sidecar asks about.
	MaxAddresses int
	// MoveWithin bounds the time that sidecars are given to leave a draining replica.
	MoveWithin time.Duration
}

// Default is for production.
func Default() Config {
	return Config{
		Digest:         25 * time.Second,
		AdmitPerSecond: 500,
		AdmitBurst:     200,
		OpenWait:       5 * time.Second,
		CatchUp:        30 * time.Second,
		UpdateBytes:    1 << 20,
		MaxServices:    10_000,
		MaxAddresses:   10_000,
		MoveWithin:     5 * time.Second,
	}
}

// Observer counts; it must not block.
type Observer interface {
	// StreamsOpen is called with 1 and -1.
	StreamsOpen(delta int)
	// UpdateSent is called for every update, just before it goes out.
	UpdateSent(Sent)
	// UpdateAcked is called for every ack; lag is the time since the oldest change in the update was compiled, zero when the
	// update carried none.
	UpdateAcked(lag time.Duration, nacks int)
	// OtherEpoch is called for every stream of a sidecar that has applied a state of another history than this one's: the store
	// of that source was restored or made anew.
	OtherEpoch(source string)
}

// Sent is what one update carried.
type Sent struct {
	// Bytes of its resources and shards of the index.
	Bytes int
	// Resources and Shards that it set.
	Resources, Shards int
	// Full says that it set every resource that the sidecar holds: one that came with nothing, or for which all has changed.
	Full bool
}

// Deps is what the hub works with.
type Deps struct {
	Observer Observer
	Log      *zap.Logger
	Now      func() time.Time
	// Replica is the name of this replica.
	Replica string
	// Peers is the number of other replicas that sidecars could go to.
	Peers func() int
}

// Hub holds the newest state and the streams.
type Hub struct {
	cfg     Config
	deps    Deps
	encoder encoder
	admit   *rate.Limiter
	current atomic.Pointer[published]

	mu       sync.Mutex
	sessions map[model.Key]*session
	gone     map[model.Key]wants // what sidecars wanted whose stream ended
	history  []*step             // oldest first, the current one last
	changed  chan struct{}       // closed when a state, an ack or a stream comes or goes; nil while nobody waits
}

// published is one state and the step that led to it.
type published struct {
	state *compile.State
	plans *plans
	*step
}

// step is one change of state. It does not keep the state alive.
type step struct {
	generation uint64
	vector     model.Vector
	changes    *compile.Changes
	at         time.Time
	lastAck    time.Time // last one by a sidecar that the changes touch; Hub.mu guards it
}

// historyLength is how many steps are remembered at least for questions about convergence: minutes of them, even when the
// sources never fall silent.
const historyLength = 4096

// New makes a hub without a state.
func New(cfg Config, deps Deps) *Hub {
	return &Hub{
		cfg:      cfg,
		deps:     deps,
		admit:    rate.NewLimiter(rate.Limit(cfg.AdmitPerSecond), cfg.AdmitBurst),
		sessions: map[model.Key]*session{},
		gone:     map[model.Key]wants{},
	}
}

// Publish makes a state current and wakes the streams that it concerns. States come from one goroutine, in order.
func (h *Hub) Publish(state *compile.State) {
	next := &published{state, newPlans(state), &step{generation: 1, vector: state.Vector(), at: h.deps.Now()}}
	var before *compile.State
	if p := h.current.Load(); p != nil {
		before, next.generation = p.state, p.generation+1
		next.plans.share(p.plans)
	}
	next.changes = compile.Diff(before, state)
	h.encoder.trim(state.Resources())

	h.mu.Lock()
	defer h.mu.Unlock()
	h.remember(next.step)
	h.current.Store(next)
	for _, s := range h.sessions {
		s.published(next)
	}
	h.notify()
}

// remember appends to the history. What came before the oldest step is not known: it counts as touching everything. Of steps
// in a row that change nothing the newest says all: a quiet mesh does not use up the history.
func (h *Hub) remember(st *step) {
	if n := len(h.history); n > 0 && st.changes.Empty() && h.history[n-1].changes.Empty() {
		h.history[n-1] = st
		return
	}
	h.history = append(h.history, st)
	if len(h.history) > 2*historyLength {
		h.history = append([]*step(nil), h.history[historyLength:]...)
		oldest := *h.history[0]
		oldest.changes = &compile.Changes{All: true}
		h.history[0] = &oldest
	}
}

// Vector is the state of the sources that was last published.
func (h *Hub) Vector() model.Vector {
	if p := h.current.Load(); p != nil {
		return p.state.Vector()
	}
	return model.Vector{}
}

// Changed returns a channel that is closed when a state, an ack or a stream comes or goes.
func (h *Hub) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.changed
}

// notify wakes those who watch convergence; the caller holds mu.
func (h *Hub) notify() {
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
}

// add registers a stream. An older stream of the same sidecar is ended: the newer one is what it speaks on now. A stream that
// has ended meanwhile is not added: the sidecar may have come back on a newer one already, which must not be ended for it.
func (h *Hub) add(ctx context.Context, s *session) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if old := h.sessions[s.key]; old != nil {
		old.end(errReplaced)
	}
	h.sessions[s.key] = s
	delete(h.gone, s.key)
	h.notify()
	return nil
}

// remove forgets a stream, but not what its sidecar wanted.
func (h *Hub) remove(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sessions[s.key] != s {
		return
	}
	delete(h.sessions, s.key)
	h.forget()
	h.gone[s.key] = s.snapshot().wants
	h.notify()
}

// forget keeps gone from growing without bound: those that are not registered any more go first, then any.
func (h *Hub) forget() {
	const limit = 10_000
	if len(h.gone) < limit {
		return
	}
	p := h.current.Load()
	for k := range h.gone {
		if _, ok := p.state.Workload(k); !ok || len(h.gone) >= limit {
			delete(h.gone, k)
		}
	}
}

// acked notes the time at which a sidecar acknowledged states after one generation, up to another.
func (h *Hub) acked(s *session, after, upTo uint64, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	w, state := s.snapshot().wants, h.current.Load().state
	for i := len(h.history) - 1; i >= 0 && h.history[i].generation > after; i-- {
		if st := h.history[i]; st.generation <= upTo && w.touched(st.changes, state) {
			st.lastAck = now
		}
	}
	h.notify()
}

// Behind is the number of streams that have not acknowledged all that concerns them.
func (h *Hub) Behind() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, s := range h.sessions {
		if s.snapshot().behind {
			n++
		}
	}
	return n
}
