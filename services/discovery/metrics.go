package discovery

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the service shows of itself.
type metrics struct {
	resets   *prometheus.CounterVec
	expired  prometheus.Counter
	held     prometheus.Gauge
	sessions prometheus.Gauge
	static   *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		resets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_discovery_watch_resets_total", Help: "Watchers that had to start anew, by reason.",
		}, []string{"reason"}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_discovery_leases_expired_total", Help: "Workloads that this replica marked UNKNOWN.",
		}),
		held: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weft_discovery_held_workloads", Help: "Workloads whose lease ran out, kept READY because most of a service went at once. Alert when above zero.",
		}),
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weft_discovery_registered_streams", Help: "Registrations whose stream this replica holds.",
		}),
		static: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weft_discovery_static_problems", Help: "Objects of a static file that are not in force. Alert when above zero.",
		}, []string{"file"}),
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.resets, m.expired, m.held, m.sessions, m.static} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}
