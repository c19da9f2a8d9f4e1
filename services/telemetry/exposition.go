package telemetry

import (
	"context"
	"math"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the service's own.
type metrics struct {
	overflow *prometheus.CounterVec
	sidecars prometheus.GaugeFunc
	edges    prometheus.GaugeFunc
}

func newMetrics(m *memory) *metrics {
	return &metrics{
		overflow: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_telemetry_overflow_total", Help: "Sidecars and edges in reports that there was no room for.",
		}, []string{"what"}),
		sidecars: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weft_telemetry_sidecars", Help: "Sidecars whose counters this replica holds.",
		}, func() float64 { n, _ := m.size(); return float64(n) }),
		edges: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weft_telemetry_edges", Help: "Edges whose counters this replica holds.",
		}, func() float64 { _, n := m.size(); return float64(n) }),
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.overflow, m.sidecars, m.edges}
}

// exposition shows every edge of the mesh as Prometheus series. Each replica shows the whole mesh: scrape one of them, or
// aggregate over replicas with max. Series are by workload and by direction, never added up here: a series then ends with
// its sidecar, where a sum would go backwards. For totals pick one direction.
type exposition struct {
	service *Service
}

func edgeLabels() []string {
	return []string{
		"direction", "source", "source_workload", "service", "destination_workload", "destination", "version", "protocol", "mtls",
	}
}

func desc(name, help string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append(edgeLabels(), more...), nil)
}

// Describe sends nothing: which series there are depends on the mesh.
func (x *exposition) Describe(chan<- *prometheus.Desc) {}

// Collect asks all replicas and sends every edge.
func (x *exposition) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), peerTimeout)
	defer cancel()
	mesh, _, unreachable := x.service.mesh(ctx, x.service.deps.Now(), defaultWindow, true)
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc("weft_telemetry_unreachable_replicas",
		"Other replicas whose edges are missing from this exposition.", nil, nil), prometheus.GaugeValue, float64(len(unreachable)))

	edges := map[edge]counters{}
	for _, run := range mesh {
		for e, w := range run {
			edges[e] = edges[e].with(w.end, sum)
		}
	}
	d := newDescs()
	for e, c := range edges {
		d.send(out, e, c)
	}
}

type descs struct {
	requests, failures, statuses, retries, sent, received, handshakes, active, latency *prometheus.Desc
}

func newDescs() descs {
	return descs{
		requests:   desc("weft_mesh_requests_total", "Requests (for TCP: connections) that ended.", "result"),
		failures:   desc("weft_mesh_failures_total", "Failures made by a proxy, by reason.", "reason"),
		statuses:   desc("weft_mesh_responses_total", "Responses by status class or gRPC status.", "status"),
		retries:    desc("weft_mesh_retries_total", "Tries beyond the first."),
		sent:       desc("weft_mesh_sent_bytes_total", "Bytes from client to server."),
		received:   desc("weft_mesh_received_bytes_total", "Bytes from server to client."),
		handshakes: desc("weft_mesh_handshakes_total", "TLS handshakes made by the counting side."),
		active:     desc("weft_mesh_connections_active", "Connections (TCP) and sessions (UDP) open now."),
		latency:    desc("weft_mesh_latency_seconds", "Latency of requests (for TCP: duration of connections)."),
	}
}

func (d descs) send(out chan<- prometheus.Metric, e edge, c counters) {
	labels := []string{
		strings.ToLower(strings.TrimPrefix(e.direction.String(), "DIRECTION_")), e.source, e.sourceWorkload, e.service,
		e.destinationWorkload, e.destination, e.version, e.protocol, strconv.FormatBool(e.mtls),
	}
	// Names come from sidecars: what Prometheus refuses (invalid UTF-8) must not break the whole scrape.
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "�")
	}
	counter := func(desc *prometheus.Desc, n uint64, more ...string) {
		for i, l := range more {
			more[i] = strings.ToValidUTF8(l, "�")
		}
		all := append(labels[:len(labels):len(labels)], more...)
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), all...)
	}
	counter(d.requests, c.successes, "success")
	counter(d.requests, minus(c.requests, c.successes), "failure")
	for _, f := range c.failures {
		counter(d.failures, f.n, f.key)
	}
	for _, f := range c.statuses {
		counter(d.statuses, f.n, f.key)
	}
	counter(d.retries, c.retries)
	counter(d.sent, c.bytesSent)
	counter(d.received, c.bytesReceived)
	counter(d.handshakes, c.handshakes)
	out <- prometheus.MustNewConstMetric(d.active, prometheus.GaugeValue, float64(c.active), labels...)
	out <- prometheus.MustNewConstHistogram(d.latency, c.latency.total(), float64(c.sumMicros)/1e6, secondsBuckets(c.latency), labels...)
}

// secondsBuckets is a histogram with a bound at every power of two microseconds from 128 µs to about a minute: the bounds of
// the mesh's own histogram are four times as many.
func secondsBuckets(s sparse[uint32]) map[float64]uint64 {
	out := make(map[float64]uint64, 20)
	var count uint64
	for exp := uint32(7); exp <= 26; exp++ {
		for len(s) > 0 && s[0].key < 4*exp {
			count += s[0].n
			s = s[1:]
		}
		out[math.Exp2(float64(exp))/1e6] = count
	}
	return out
}

var _ prometheus.Collector = (*exposition)(nil)
