package telemetry

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
)

// hop is what both sides of a request know of it: the client's side does not know more of the source than the server's, nor
// the server's more of the destination.
type hop struct {
	source, service, destinationWorkload string
}

func (e edge) hop() hop { return hop{e.source, e.service, e.destinationWorkload} }

// clientFirst returns the edges of all runs added up, without those that the client's side counts too. An edge of the
// client's side counts as there even when nothing happened on it in the window: the two sides report at different moments,
// and a request at the edge of a window must not be counted by one side now and by the other side later.
func (m merged) clientFirst() map[edge]counters {
	byClient := map[hop]bool{}
	for _, edges := range m {
		for e := range edges {
			if e.direction == telemetrypb.Direction_DIRECTION_OUTBOUND && e.destinationWorkload != "" {
				byClient[e.hop()] = true
			}
		}
	}
	out := map[edge]counters{}
	for _, edges := range m {
		for e, w := range edges {
			if e.direction == telemetrypb.Direction_DIRECTION_INBOUND && byClient[e.hop()] {
				continue
			}
			if added := w.added(); !added.quiet() || added.active > 0 {
				out[e] = out[e].with(added, sum)
			}
		}
	}
	return out
}

// rowKey is the part of an edge that a grouping keeps.
func rowKey(e edge, by telemetrypb.GroupBy) edge {
	switch by {
	case telemetrypb.GroupBy_GROUP_BY_SERVICE:
		return edge{source: e.source, service: e.service}
	case telemetrypb.GroupBy_GROUP_BY_WORKLOAD:
		return edge{
			source: e.source, sourceWorkload: e.sourceWorkload,
			destinationWorkload: e.destinationWorkload, destination: e.destination,
		}
	case telemetrypb.GroupBy_GROUP_BY_VERSION:
		return edge{service: e.service, version: e.version}
	default:
		return edge{
			source: e.source, service: e.service, destinationWorkload: e.destinationWorkload,
			destination: e.destination, version: e.version,
		}
	}
}

// row is a group of edges: key is what the grouping keeps, shared what else all of them agree on.
type row struct {
	key, shared edge
	counters    counters
}

// rows groups the edges whose service or source lies in a wanted namespace, busiest first, then in order of the key.
func rows(edges map[edge]counters, by telemetrypb.GroupBy, wanted func(namespace string) bool) []row {
	groups := map[edge]*row{}
	for e, c := range edges {
		if !wanted(namespaceOf(e.service)) && !wanted(namespaceOf(e.source)) {
			continue
		}
		key := rowKey(e, by)
		g := groups[key]
		if g == nil {
			groups[key] = &row{key: key, shared: e, counters: c}
			continue
		}
		g.counters = g.counters.with(c, sum)
		g.shared = agreed(g.shared, e)
	}
	out := make([]row, 0, len(groups))
	for _, g := range groups {
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b row) int {
		return cmp.Or(
			cmp.Compare(b.counters.requests, a.counters.requests),
			cmp.Compare(b.counters.bytesSent+b.counters.bytesReceived, a.counters.bytesSent+a.counters.bytesReceived),
			compareKeys(a.key, b.key),
		)
	})
	return out
}

func compareKeys(a, b edge) int {
	return cmp.Or(
		strings.Compare(a.service, b.service), strings.Compare(a.version, b.version),
		strings.Compare(a.source, b.source), strings.Compare(a.sourceWorkload, b.sourceWorkload),
		strings.Compare(a.destinationWorkload, b.destinationWorkload), strings.Compare(a.destination, b.destination),
	)
}

// agreed keeps of direction, protocol and mtls what a and b have in common.
func agreed(a, b edge) edge {
	if a.direction != b.direction {
		a.direction = telemetrypb.Direction_DIRECTION_UNSPECIFIED
	}
	if a.protocol != b.protocol {
		a.protocol = ""
	}
	a.mtls = a.mtls && b.mtls
	return a
}

// namespaceOf is the first part of "namespace/name".
func namespaceOf(name string) string {
	namespace, _, _ := strings.Cut(name, "/")
	return namespace
}

func (r row) proto(window time.Duration) *telemetrypb.EdgeRow {
	e, c := r.key, r.counters
	e.direction, e.protocol, e.mtls = r.shared.direction, r.shared.protocol, r.shared.mtls
	out := &telemetrypb.EdgeRow{
		Edge: e.proto(), Requests: c.requests, Successes: c.successes, Retries: c.retries, Handshakes: c.handshakes,
		BytesSent: c.bytesSent, BytesReceived: c.bytesReceived,
		Failures: toMap(c.failures), Statuses: toMap(c.statuses), Latency: histogramTo(c.latency, c.sumMicros), Active: c.active,
	}
	if window > 0 {
		out.RequestsPerSecond = float64(c.requests) / window.Seconds()
	}
	if len(c.latency) > 0 {
		out.P50 = durationpb.New(quantile(c.latency, 0.5))
		out.P90 = durationpb.New(quantile(c.latency, 0.9))
		out.P99 = durationpb.New(quantile(c.latency, 0.99))
	}
	return out
}
