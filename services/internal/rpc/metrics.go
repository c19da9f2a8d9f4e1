package rpc

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// metrics counts what a server has answered.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	streams  *prometheus.GaugeVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_rpc_requests_total", Help: "Finished RPCs by method and gRPC code.",
		}, []string{"method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weft_rpc_duration_seconds", Help: "Time to answer unary RPCs.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8),
		}, []string{"method"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weft_rpc_open_streams", Help: "Streaming RPCs that are open.",
		}, []string{"method"}),
	}
	if r == nil {
		return m, nil
	}
	if err := errors.Join(r.Register(m.requests), r.Register(m.duration), r.Register(m.streams)); err != nil {
		return nil, fmt.Errorf("register RPC metrics: %w", err)
	}
	return m, nil
}

func (m *metrics) unary(method string, c codes.Code, d time.Duration) {
	m.requests.WithLabelValues(method, c.String()).Inc()
	m.duration.WithLabelValues(method).Observe(d.Seconds())
}

func (m *metrics) stream(method string, c codes.Code) {
	m.requests.WithLabelValues(method, c.String()).Inc()
}

func (m *metrics) open(method string, delta float64) {
	m.streams.WithLabelValues(method).Add(delta)
}
