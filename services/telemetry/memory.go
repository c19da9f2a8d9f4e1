package telemetry

import (
	"slices"
	"sync"
	"time"
)

// Limits bound what a replica holds. A busy edge takes about 40 KB with ten minutes of history, an idle one under 1 KB.
type Limits struct {
	// Sidecars whose counters are held.
	Sidecars int
	// Edges of all sidecars together.
	Edges int
	// EdgesPerSidecar keeps one sidecar from taking all room.
	EdgesPerSidecar int
}

const (
	// retention is how long a silent sidecar is remembered: until no window can reach it.
	retention = maxWindow + maxSilence
	// maxRuns is how many runs of one sidecar are held: a program that restarts in a loop must not fill the memory.
	maxRuns = 8
)

// memory holds the runs of every sidecar that reported here. It is safe for concurrent use.
type memory struct {
	limits Limits

	mu       sync.Mutex
	sidecars map[string][]*run // oldest start first
	edges    int
}

func newMemory(l Limits) *memory {
	return &memory{limits: l, sidecars: map[string][]*run{}}
}

// reported is one edge of a report.
type reported struct {
	edge     edge
	counters counters
}

// overflow counts what did not fit.
type overflow struct {
	sidecars, edges int
}

// take stores a report that arrived at t. The run need not be the newest: a process that has given its place to another one
// reports what its connections do until they end.
func (m *memory) take(t time.Time, sidecar string, start time.Time, edges []reported) overflow {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.run(t, sidecar, start)
	if r == nil {
		return overflow{sidecars: 1}
	}
	following := r.begin(t)
	var over overflow
	for _, e := range edges {
		if r.edges[e.edge] == nil {
			if m.edges >= m.limits.Edges || len(r.edges) >= m.limits.EdgesPerSidecar {
				over.edges++
				continue
			}
			m.edges++
		}
		r.report(t, e.edge, e.counters, following)
	}
	return over
}

// run returns the sidecar's run with a start, made anew when it is not known; nil when there is no room for it.
func (m *memory) run(t time.Time, sidecar string, start time.Time) *run {
	runs := m.sidecars[sidecar]
	if len(runs) == 0 && len(m.sidecars) >= m.limits.Sidecars && !m.makeRoom(t) {
		return nil
	}
	at, known := slices.BinarySearchFunc(runs, start, func(r *run, start time.Time) int { return r.start.Compare(start) })
	if known {
		return runs[at]
	}
	if len(runs) >= maxRuns {
		if at == 0 {
			return nil
		}
		m.edges -= len(runs[0].edges)
		runs = slices.Delete(runs, 0, 1)
		at--
	}
	r := &run{sidecar: sidecar, start: start, edges: map[edge]*timeline{}}
	m.sidecars[sidecar] = slices.Insert(runs, at, r)
	return r
}

// makeRoom forgets the sidecar that has been silent longest, if it is gone: programs that come and go (a command in a loop)
// must not keep others out until no window can reach them any more.
func (m *memory) makeRoom(t time.Time) bool {
	victim, last := "", t.Add(-maxSilence)
	for sidecar, runs := range m.sidecars {
		if heard := runs[len(runs)-1].last; heard.Before(last) {
			victim, last = sidecar, heard
		}
	}
	for _, r := range m.sidecars[victim] {
		m.edges -= len(r.edges)
	}
	delete(m.sidecars, victim)
	return victim != ""
}

// sweep forgets what no window can reach, as of t.
func (m *memory) sweep(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for sidecar, runs := range m.sidecars {
		kept := slices.DeleteFunc(runs, func(r *run) bool {
			gone := t.Sub(r.last) > retention
			if gone {
				m.edges -= len(r.edges)
			}
			return gone
		})
		if len(kept) == 0 {
			delete(m.sidecars, sidecar)
			continue
		}
		m.sidecars[sidecar] = kept
		for _, r := range kept {
			for _, line := range r.edges {
				line.thin(t)
			}
		}
	}
}

// size says how much is held.
func (m *memory) size() (sidecars, edges int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sidecars), m.edges
}

// since returns what is known at now of every run from w on, in no order.
func (m *memory) since(now, w time.Time) []runWindow {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []runWindow
	for _, runs := range m.sidecars {
		for _, r := range runs {
			if r.silentAt(w) {
				continue
			}
			rw := runWindow{sidecar: r.sidecar, start: r.start, edges: make([]edgeWindow, 0, len(r.edges))}
			for e, line := range r.edges {
				begin, known := r.window(line, w)
				rw.edges = append(rw.edges, edgeWindow{edge: e, begin: begin, end: r.end(line, now), known: known})
			}
			out = append(out, rw)
		}
	}
	return out
}

// whole returns the counters of the newest run of every sidecar since its start, in no order.
func (m *memory) whole(now time.Time) []runWindow {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]runWindow, 0, len(m.sidecars))
	for _, runs := range m.sidecars {
		r := runs[len(runs)-1]
		rw := runWindow{sidecar: r.sidecar, start: r.start, edges: make([]edgeWindow, 0, len(r.edges))}
		for e, line := range r.edges {
			rw.edges = append(rw.edges, edgeWindow{edge: e, end: r.end(line, now), known: true})
		}
		out = append(out, rw)
	}
	return out
}
