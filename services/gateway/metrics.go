package gateway

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// calls counts what people and programs ask for.
type calls struct {
	total   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	muted   prometheus.Counter
}

func newCalls(registry prometheus.Registerer) (*calls, error) {
	c := &calls{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_gateway_calls_total", Help: "Calls by method and gRPC status; REST requests are calls too.",
		}, []string{"method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weft_gateway_call_seconds", Help: "How long calls took; for streams how long they were open.", Buckets: prometheus.DefBuckets,
		}, []string{"method"}),
		muted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weft_gateway_audit_muted_total", Help: "Refusals that are not in the audit log because their caller had too many.",
		}),
	}
	for _, collector := range []prometheus.Collector{c.total, c.seconds, c.muted} {
		if err := registry.Register(collector); err != nil {
			return nil, fmt.Errorf("register metrics of gateway: %w", err)
		}
	}
	return c, nil
}

func (c *calls) done(method string, code codes.Code, took time.Duration) {
	c.total.WithLabelValues(method, code.String()).Inc()
	c.seconds.WithLabelValues(method).Observe(took.Seconds())
}
