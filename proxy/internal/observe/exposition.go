package observe

import (
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// Prometheus gets a bound at every power of two from 64 µs to 34 s: fine enough for a dashboard, a quarter of the series.
const (
	firstBound = 6
	lastBound  = 25
)

// Health is what the sidecar knows of itself, for metrics.
type Health struct {
	// Connected by service of the control plane.
	Connected map[string]bool
	// ConfigConfirmed is when the distributor last confirmed the configuration; zero: never.
	ConfigConfirmed time.Time
	// SVIDExpiry is the end of validity of the SVID; zero without one.
	SVIDExpiry time.Time
	// ConfigUpdates applied, and streams reopened for a digest that differed.
	ConfigUpdates, ConfigReopened uint64
	// ConfigRefused resources now.
	ConfigRefused int
	// IndexServices known.
	IndexServices int
	// Handshakes of TLS by direction ("inbound", "outbound") and result ("full", "resumed", "failed").
	Handshakes map[string]map[string]uint64
	// Datagrams is about UDP, by direction.
	Datagrams map[string]Datagrams
	// Refused by direction and by the limit that was exceeded.
	Refused map[string]map[string]uint64
	// Buffered bytes in large buffers, by direction.
	Buffered map[string]int64
	// Connections of the HTTP/1.1 pool by what happened ("dialled", "reused", "stale").
	Connections map[string]uint64
}

// Datagrams is what one side of the sidecar knows of UDP.
type Datagrams struct {
	// Sessions that there are now.
	Sessions int64
	// Dropped datagrams by cause ("backpressure", "refused", "oversize", "unsent").
	Dropped map[string]uint64
}

// Metrics serves the exposition.
func (r *Recorder) Metrics(health func() Health) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		&edgeCollector{recorder: r, desc: newEdgeDescs()},
		&healthCollector{recorder: r, health: health, desc: newHealthDescs()},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

type edgeDescs struct {
	requests, successes, failures, retries, handshakes, bytes, active, duration *prometheus.Desc
}

func newEdgeDescs() edgeDescs {
	labels := []string{"direction", "source", "destination_service", "destination_workload", "destination", "version", "protocol", "mtls"}
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc("weft_proxy_"+name, help, append(append([]string{}, labels...), more...), nil)
	}
	return edgeDescs{
		requests:   desc("requests_total", "Requests (connections for TCP, sessions for UDP) that ended, by code class.", "code"),
		successes:  desc("successes_total", "Requests that were neither 5xx nor failed by a proxy."),
		failures:   desc("failures_total", "Requests that a proxy failed, by reason.", "reason"),
		retries:    desc("retries_total", "Tries beyond the first."),
		handshakes: desc("handshakes_total", "TLS handshakes made."),
		bytes:      desc("bytes_total", "Bytes of bodies, streams and datagrams, sent from client to server or received from it.", "flow"),
		active:     desc("connections_active", "Connections (of TCP, and of what HTTP was upgraded to) and sessions (of UDP) open now."),
		duration:   desc("request_duration_seconds", "Time from the request to the end of its response."),
	}
}

type edgeCollector struct {
	recorder *Recorder
	desc     edgeDescs
}

// Describe lists the descriptions.
func (c *edgeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.desc.requests, c.desc.successes, c.desc.failures, c.desc.retries, c.desc.handshakes, c.desc.bytes, c.desc.active, c.desc.duration,
	} {
		ch <- d
	}
}

// Collect reads every edge.
func (c *edgeCollector) Collect(ch chan<- prometheus.Metric) {
	own := c.recorder.account()
	for _, e := range c.recorder.all() {
		c.edge(ch, e, own)
	}
}

func (c *edgeCollector) edge(ch chan<- prometheus.Metric, e *edge, own string) {
	pb := c.recorder.describe(e.key, own)
	labels := []string{
		directionName(e.key.direction), pb.GetSource(), pb.GetService(), pb.GetDestinationWorkload(), pb.GetDestination(),
		pb.GetVersion(), pb.GetProtocol(), yesNo(pb.GetMtls()),
	}
	count := func(desc *prometheus.Desc, n uint64, more ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), append(labels[:len(labels):len(labels)], more...)...)
	}
	for i := range e.codes {
		if n := e.codes[i].Load(); n > 0 {
			count(c.desc.requests, n, codeName(i))
		}
	}
	for i := range e.failures {
		if n := e.failures[i].Load(); n > 0 {
			count(c.desc.failures, n, flow.Reason(i).String())
		}
	}
	count(c.desc.successes, e.successes.Load())
	count(c.desc.retries, e.retries.Load())
	count(c.desc.handshakes, e.handshake.Load())
	count(c.desc.bytes, e.sent.Load(), "sent")
	count(c.desc.bytes, e.received.Load(), "received")
	if e.key.class.streams() || e.streams.Load() {
		ch <- prometheus.MustNewConstMetric(c.desc.active, prometheus.GaugeValue, float64(e.active.Load()), labels...)
	}
	bounds, total := cumulative(&e.latency)
	ch <- prometheus.MustNewConstHistogram(c.desc.duration, total, float64(e.latency.sum.Load())/1e6, bounds, labels...)
}

// cumulative folds four buckets into one for each power of two.
func cumulative(h *histogram) (map[float64]uint64, uint64) {
	bounds := make(map[float64]uint64, lastBound-firstBound+1)
	total := uint64(0)
	for i := range h.counts {
		total += h.counts[i].Load()
		if power := (i + 1) / 4; (i+1)%4 == 0 && power >= firstBound && power <= lastBound {
			bounds[(math.Exp2(float64(power))-1)/1e6] = total
		}
	}
	return bounds, total
}

func yesNo(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
