package identity_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weft-mesh/weft/services/identity"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := start(t, memkv.New(), "a", func(_ *identity.Config, d *identity.Deps) { d.Metrics = reg })
	waitSigns(t, r) // asks with an empty CSR, which is one refusal
	token := r.token(t, "web")
	r.join(t, token)
	want := `
# HELP weft_identity_authority_signing 1 when this replica's authority is distributed and signs, else 0.
# TYPE weft_identity_authority_signing gauge
weft_identity_authority_signing 1
# HELP weft_identity_join_tokens_total Join tokens minted, redeemed and refused.
# TYPE weft_identity_join_tokens_total counter
weft_identity_join_tokens_total{outcome="error"} 0
weft_identity_join_tokens_total{outcome="minted"} 1
weft_identity_join_tokens_total{outcome="redeemed"} 1
weft_identity_join_tokens_total{outcome="refused"} 0
weft_identity_join_tokens_total{outcome="unavailable"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "weft_identity_join_tokens_total", "weft_identity_authority_signing"); err != nil {
		t.Error(err)
	}
	expiry := `weft_identity_authority_expiry_timestamp_seconds`
	if n, err := testutil.GatherAndCount(reg, expiry, "weft_identity_svids_total"); err != nil || n != 5 {
		t.Errorf("%d series of expiry and SVIDs (%v), want 5", n, err)
	}
}
