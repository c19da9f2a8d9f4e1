package distributor

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/services/distributor/fanout"
	"github.com/weft-mesh/weft/services/distributor/intake"
)

var (
	_ fanout.Observer = observer{}
	_ intake.Observer = (*metrics)(nil)
)

// metrics counts what intake and fanout do.
type metrics struct {
	streams     prometheus.Gauge
	updates     prometheus.Counter
	full        prometheus.Counter
	bytes       prometheus.Counter
	resources   prometheus.Counter
	shards      prometheus.Counter
	acks        prometheus.Counter
	nacks       prometheus.Counter
	propagation prometheus.Histogram
	compile     prometheus.Histogram
	connected   *prometheus.GaugeVec
	resets      *prometheus.CounterVec
	restored    *prometheus.CounterVec
	rejected    *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weft_distributor_streams", Help: "Sidecars that have a stream at this replica.",
		}),
		updates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_distributor_updates_total", Help: "Updates sent to sidecars.",
		}),
		full: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_distributor_full_updates_total",
			Help: "Updates that set everything that the sidecar holds: to those that came with nothing, or when all has changed.",
		}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_distributor_update_bytes_total", Help: "Bytes of resources and index shards in updates.",
		}),
		resources: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_distributor_update_resources_total", Help: "Resources in updates.",
		}),
		shards: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_distributor_update_shards_total", Help: "Shards of the index in updates.",
		}),
		acks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_distributor_acks_total", Help: "Updates that sidecars acknowledged.",
		}),
		nacks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_distributor_nacks_total", Help: "Resources that sidecars refused.",
		}),
		propagation: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "weft_distributor_propagation_seconds",
			Help:    "Time from the compilation of a change to a sidecar's acknowledgement of it.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		compile: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "weft_distributor_compile_seconds",
			Help:    "Time that a compilation took.",
			Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5},
		}),
		connected: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weft_distributor_source_connected", Help: "Whether a source is being followed (1) or its last known state is used (0).",
		}, []string{"source"}),
		resets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_distributor_resets_total", Help: "Times that a source had to send everything again.",
		}, []string{"source"}),
		restored: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_distributor_other_epoch_sidecars_total",
			Help: "Sidecars that came with a state of another history: the source's store was restored or made anew, and they were sent what differs.",
		}, []string{"source"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_distributor_rejected_objects_total", Help: "Objects of sources that could not be read.",
		}, []string{"kind"}),
	}
}

func (m *metrics) collectors(behind func() int) []prometheus.Collector {
	return []prometheus.Collector{
		m.streams, m.updates, m.full, m.bytes, m.resources, m.shards, m.acks, m.nacks, m.propagation, m.compile, m.connected, m.resets, m.restored, m.rejected,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weft_distributor_sidecars_behind", Help: "Sidecars with a stream here that have not acknowledged all that concerns them.",
		}, func() float64 { return float64(behind()) }),
	}
}

func (m *metrics) compiled(took time.Duration) { m.compile.Observe(took.Seconds()) }

// StreamsOpen implements fanout.Observer.
func (m *metrics) StreamsOpen(delta int) { m.streams.Add(float64(delta)) }

// UpdateSent implements fanout.Observer.
func (m *metrics) UpdateSent(s fanout.Sent) {
	m.updates.Inc()
	m.bytes.Add(float64(s.Bytes))
	m.resources.Add(float64(s.Resources))
	m.shards.Add(float64(s.Shards))
	if s.Full {
		m.full.Inc()
	}
}

// UpdateAcked implements fanout.Observer.
func (m *metrics) UpdateAcked(lag time.Duration, nacks int) {
	m.acks.Inc()
	m.nacks.Add(float64(nacks))
	if lag > 0 {
		m.propagation.Observe(lag.Seconds())
	}
}

// SourceConnected implements intake.Observer.
func (m *metrics) SourceConnected(source string, yes bool) {
	value := 0.0
	if yes {
		value = 1
	}
	m.connected.WithLabelValues(source).Set(value)
}

// SourceReset implements intake.Observer.
func (m *metrics) SourceReset(source string) { m.resets.WithLabelValues(source).Inc() }

// OtherEpoch implements fanout.Observer.
func (m *metrics) OtherEpoch(source string) { m.restored.WithLabelValues(source).Inc() }

// ObjectRejected implements intake.Observer.
func (m *metrics) ObjectRejected(kind string) { m.rejected.WithLabelValues(kind).Inc() }
