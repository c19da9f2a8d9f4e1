package observe

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// defaultMaxEdges bounds memory to about 2 MB and a scrape to some 20,000 series.
const defaultMaxEdges = 1000

// Config says whose flows are recorded.
type Config struct {
	// Namespace and Workload of the sidecar.
	Namespace, Workload string
	// Version is the workload's label "version".
	Version string
	// Source holds the sidecar's own identity.
	Source *spiffe.Source
	// MaxEdges bounds the edges that are told apart; 0: 1000.
	MaxEdges int
	// AccessLog receives records when it is not nil.
	AccessLog *AccessLog
}

// Recorder counts flows. Its methods may be called from anywhere.
type Recorder struct {
	cfg   Config
	start time.Time

	// edges is copied when one is added, which is rare, so that looking one up takes no lock.
	edges    atomic.Pointer[map[edgeKey]*edge]
	overflow atomic.Uint64
	mu       sync.Mutex // serialises additions
}

// New makes a recorder that has counted nothing.
func New(cfg Config) *Recorder {
	if cfg.MaxEdges == 0 {
		cfg.MaxEdges = defaultMaxEdges
	}
	r := &Recorder{cfg: cfg, start: time.Now()}
	r.edges.Store(&map[edgeKey]*edge{})
	return r
}

// Open counts a stream as begun; Emit counts its end. What it returns counts the stream's bytes in between.
func (r *Recorder) Open(rec *flow.Record) flow.Progress {
	e := r.edge(rec)
	e.open()
	return e.progress
}

func (r *Recorder) edge(rec *flow.Record) *edge {
	key := keyOf(rec)
	if e := (*r.edges.Load())[key]; e != nil {
		return e
	}
	return r.add(key)
}

// Emit counts one record and keeps nothing of it.
func (r *Recorder) Emit(rec *flow.Record) {
	r.edge(rec).add(rec)
	if r.cfg.AccessLog != nil {
		r.cfg.AccessLog.record(rec)
	}
}

func (r *Recorder) add(key edgeKey) *edge {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := *r.edges.Load()
	if e := old[key]; e != nil {
		return e
	}
	if len(old) >= r.cfg.MaxEdges {
		r.overflow.Add(1)
		key = edgeKey{direction: key.direction, class: key.class, other: true, service: "other"}
		if e := old[key]; e != nil {
			return e
		}
	}
	e := newEdge(key)
	next := make(map[edgeKey]*edge, len(old)+1)
	for k, v := range old {
		next[k] = v
	}
	next[e.key] = e
	r.edges.Store(&next)
	return e
}

func (r *Recorder) all() map[edgeKey]*edge { return *r.edges.Load() }

// account is the sidecar's own, "namespace/account"; empty until it has an identity.
func (r *Recorder) account() string {
	m := r.cfg.Source.Load()
	if m == nil {
		return ""
	}
	a, err := spiffe.ParseID(m.ID)
	if err != nil {
		return ""
	}
	return a.String()
}

// workload is the sidecar's own, "namespace/workload".
func (r *Recorder) workload() string { return r.cfg.Namespace + "/" + r.cfg.Workload }
