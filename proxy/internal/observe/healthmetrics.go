package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type healthDescs struct {
	connected, age, expiry, updates, reopened, refused, index, edges, overflow, dropped, handshakes, pool, sessions, datagrams, over, buffered *prometheus.Desc
}

func newHealthDescs() healthDescs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weft_proxy_"+name, help, labels, nil)
	}
	return healthDescs{
		connected:  desc("connected", "1 while there is a stream to the service of the control plane.", "service"),
		age:        desc("config_age_seconds", "Time since the distributor last confirmed the configuration."),
		expiry:     desc("svid_expiry_timestamp_seconds", "End of validity of the SVID."),
		updates:    desc("config_updates_total", "Updates of the configuration that were applied."),
		reopened:   desc("config_digest_mismatches_total", "Streams reopened because the distributor's digest differed."),
		refused:    desc("config_refused_resources", "Resources that are refused now."),
		index:      desc("index_services", "Services of the mesh that are known."),
		edges:      desc("edges", "Edges that are told apart."),
		overflow:   desc("edges_overflow_total", "Flows counted on the edge \"other\" because there were too many edges."),
		handshakes: desc("tls_handshakes_total", "TLS handshakes of the mesh hop, also those that no request waited for.", "direction", "result"),
		pool:       desc("pool_connections_total", "Connections of the HTTP/1.1 pool: dialled, reused, or found stale.", "event"),
		sessions:   desc("udp_sessions", "Sessions of UDP that there are now.", "direction"),
		datagrams: desc("udp_dropped_datagrams_total",
			"Datagrams that were dropped: backpressure (the other end was too slow), refused (no session), oversize, unsent (by the socket).",
			"direction", "cause"),
		over: desc("limit_refused_total", "What was refused, cut off or held back because it went over a limit, by the limit's name.",
			"direction", "limit"),
		buffered: desc("buffered_bytes", "Bytes in large buffers and in bodies that wait, as the limit buffer_bytes counts them.", "direction"),
		dropped:  desc("access_log_dropped_total", "Lines of the access log that were dropped."),
	}
}

type healthCollector struct {
	recorder *Recorder
	health   func() Health
	desc     healthDescs
}

// Describe lists the descriptions.
func (c *healthCollector) Describe(ch chan<- *prometheus.Desc) {
	d := c.desc
	for _, desc := range []*prometheus.Desc{
		d.connected, d.age, d.expiry, d.updates, d.reopened, d.refused, d.index, d.edges, d.overflow, d.dropped, d.handshakes, d.pool,
		d.sessions, d.datagrams, d.over, d.buffered,
	} {
		ch <- desc
	}
}

// Collect asks the sidecar.
func (c *healthCollector) Collect(ch chan<- prometheus.Metric) {
	h := c.health()
	gauge := func(desc *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	counter := func(desc *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v), labels...)
	}
	for service, connected := range h.Connected {
		value := 0.0
		if connected {
			value = 1
		}
		gauge(c.desc.connected, value, service)
	}
	if !h.ConfigConfirmed.IsZero() {
		gauge(c.desc.age, time.Since(h.ConfigConfirmed).Seconds())
	}
	if !h.SVIDExpiry.IsZero() {
		gauge(c.desc.expiry, float64(h.SVIDExpiry.Unix()))
	}
	counter(c.desc.updates, h.ConfigUpdates)
	counter(c.desc.reopened, h.ConfigReopened)
	gauge(c.desc.refused, float64(h.ConfigRefused))
	gauge(c.desc.index, float64(h.IndexServices))
	gauge(c.desc.edges, float64(len(c.recorder.all())))
	counter(c.desc.overflow, c.recorder.overflow.Load())
	for direction, results := range h.Handshakes {
		for result, n := range results {
			counter(c.desc.handshakes, n, direction, result)
		}
	}
	for event, n := range h.Connections {
		counter(c.desc.pool, n, event)
	}
	for direction, d := range h.Datagrams {
		gauge(c.desc.sessions, float64(d.Sessions), direction)
		for cause, n := range d.Dropped {
			counter(c.desc.datagrams, n, direction, cause)
		}
	}
	for direction, limits := range h.Refused {
		for name, n := range limits {
			counter(c.desc.over, n, direction, name)
		}
	}
	for direction, n := range h.Buffered {
		gauge(c.desc.buffered, float64(n), direction)
	}
	if log := c.recorder.cfg.AccessLog; log != nil {
		counter(c.desc.dropped, log.dropped.Load())
	}
}
