package telemetry

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
)

// runWindow is what one replica knows of one run over a window.
type runWindow struct {
	sidecar string
	start   time.Time
	edges   []edgeWindow
}

// edgeWindow is an edge at both ends of a window. Without known, begin is the first report after the window began.
type edgeWindow struct {
	edge       edge
	begin, end counters
	known      bool
}

// join merges what two replicas know of one edge of one run. Counters only grow within a run, so that the larger is the
// newer: join is commutative, associative and idempotent, and hearing a thing twice never counts it twice.
func (w edgeWindow) join(o edgeWindow) edgeWindow {
	out := edgeWindow{edge: w.edge, end: w.end.with(o.end, larger), known: w.known || o.known}
	switch {
	case w.known && o.known:
		out.begin = w.begin.with(o.begin, larger)
	case w.known:
		out.begin = w.begin
	case o.known:
		out.begin = o.begin
	default:
		out.begin = w.begin.with(o.begin, smaller)
	}
	return out
}

// added is what happened on the edge in the window.
func (w edgeWindow) added() counters { return w.end.with(w.begin, minus) }

type runKey struct {
	sidecar string
	start   int64
}

// merged is everything that is known of the mesh over a window, each run of each sidecar once.
type merged map[runKey]map[edge]edgeWindow

// take merges one replica's knowledge.
func (m merged) take(runs []runWindow) {
	for _, r := range runs {
		key := runKey{r.sidecar, r.start.UnixNano()}
		edges := m[key]
		if edges == nil {
			edges = make(map[edge]edgeWindow, len(r.edges))
			m[key] = edges
		}
		for _, w := range r.edges {
			if have, ok := edges[w.edge]; ok {
				w = have.join(w)
			}
			edges[w.edge] = w
		}
	}
}

// newest drops all but the newest run of each sidecar.
func (m merged) newest() {
	last := map[string]int64{}
	for key := range m {
		last[key.sidecar] = max(last[key.sidecar], key.start)
	}
	for key := range m {
		if key.start < last[key.sidecar] {
			delete(m, key)
		}
	}
}

// oldest is the earliest start of a run, or now when there is none.
func (m merged) oldest(now time.Time) time.Time {
	first := now.UnixNano()
	for key := range m {
		first = min(first, key.start)
	}
	return time.Unix(0, first)
}

func (r runWindow) proto() *telemetrypb.SidecarWindow {
	out := &telemetrypb.SidecarWindow{
		Sidecar: r.sidecar, StartTime: timestamppb.New(r.start),
		Edges: make([]*telemetrypb.EdgeWindow, 0, len(r.edges)),
	}
	for _, w := range r.edges {
		out.Edges = append(out.Edges, &telemetrypb.EdgeWindow{
			End: w.end.proto(w.edge.proto()), Begin: w.begin.proto(nil), BeginKnown: w.known,
		})
	}
	return out
}

func runWindowFrom(p *telemetrypb.SidecarWindow) runWindow {
	out := runWindow{
		sidecar: p.GetSidecar(), start: p.GetStartTime().AsTime(),
		edges: make([]edgeWindow, 0, len(p.GetEdges())),
	}
	for _, w := range p.GetEdges() {
		out.edges = append(out.edges, edgeWindow{
			edge: edgeFrom(w.GetEnd().GetEdge()), begin: countersFrom(w.GetBegin()), end: countersFrom(w.GetEnd()),
			known: w.GetBeginKnown(),
		})
	}
	return out
}
