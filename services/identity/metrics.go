package identity

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weft-mesh/weft/services/internal/fault"
)

// metrics counts what identity does.
type metrics struct {
	svids  *prometheus.CounterVec
	tokens *prometheus.CounterVec
}

// newMetrics registers the collectors; notAfter is the end of this replica's authority, signs says whether it may sign.
func newMetrics(reg prometheus.Registerer, notAfter func() time.Time, signs func() bool) (*metrics, error) {
	m := &metrics{
		svids: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_identity_svids_total", Help: "Requests for X.509-SVIDs, by outcome.",
		}, []string{"outcome"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_identity_join_tokens_total", Help: "Join tokens minted, redeemed and refused.",
		}, []string{"outcome"}),
	}
	expiry := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_identity_authority_expiry_timestamp_seconds", Help: "When this replica's authority expires, in Unix time.",
	}, func() float64 { return float64(notAfter().Unix()) })
	signing := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_identity_authority_signing", Help: "1 when this replica's authority is distributed and signs, else 0.",
	}, func() float64 {
		if signs() {
			return 1
		}
		return 0
	})
	// Each outcome exists from the start: a rate needs a zero to rise from.
	for _, outcome := range []string{"issued", "refused", "unavailable", "error"} {
		m.svids.WithLabelValues(outcome)
	}
	for _, outcome := range []string{"minted", "redeemed", "refused", "unavailable", "error"} {
		m.tokens.WithLabelValues(outcome)
	}
	return m, errors.Join(reg.Register(m.svids), reg.Register(m.tokens), reg.Register(expiry), reg.Register(signing))
}

func (m *metrics) issued(err error) { m.svids.WithLabelValues(outcome(err, "issued")).Inc() }

func (m *metrics) redeemed(err error) { m.tokens.WithLabelValues(outcome(err, "redeemed")).Inc() }

func (m *metrics) minted() { m.tokens.WithLabelValues("minted").Inc() }

func outcome(err error, good string) string {
	if err == nil {
		return good
	}
	switch fault.KindOf(err) {
	case fault.Unavailable:
		return "unavailable"
	case fault.Internal:
		return "error"
	default:
		return "refused"
	}
}
