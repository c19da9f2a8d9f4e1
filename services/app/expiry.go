package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// expiryCollector tells the end of a service's own SVID, the control plane's counterpart of weft_proxy_svid_expiry_timestamp_seconds.
type expiryCollector struct {
	trust *spiffe.Source
	desc  *prometheus.Desc
}

// Describe lists the description.
func (c *expiryCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect tells it once there is an SVID: a zero would look like one that ran out long ago.
func (c *expiryCollector) Collect(ch chan<- prometheus.Metric) {
	if m := c.trust.Load(); m != nil {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(m.NotAfter().Unix()))
	}
}
