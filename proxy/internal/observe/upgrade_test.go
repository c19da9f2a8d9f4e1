package observe

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// TestR8_UpgradesAreSeenAsStreams: a WebSocket shows while it is open, counts as one request when it has ended, and its
// latency is that of the answer, not its life.
func TestR8_UpgradesAreSeenAsStreams(t *testing.T) {
	r := recorder(t, testca.New(t, "weft.local"), 0, nil)
	rec := outbound("default/chat")
	rec.Status, rec.Switched, rec.Duration = 101, 3*time.Millisecond, 0
	progress := r.Open(rec)
	rec.Opened = true
	progress(10, 20)
	exposed := func(want ...string) {
		t.Helper()
		w := httptest.NewRecorder()
		r.Metrics(func() Health { return Health{} }).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		for _, line := range want {
			if !strings.Contains(w.Body.String(), line+"\n") {
				t.Errorf("missing: %s\n%s", line, w.Body)
			}
		}
	}
	const labels = `destination="",destination_service="default/chat",destination_workload="",direction="outbound",`
	const rest = `mtls="true",protocol="http",source="default/shop",version=""`
	exposed(
		`weft_proxy_connections_active{`+labels+rest+`} 1`,
		`weft_proxy_bytes_total{`+labels+`flow="received",`+rest+`} 20`,
	)
	rec.Duration, rec.BytesSent, rec.BytesReceived, rec.Reason = time.Hour, 10, 20, flow.None
	r.Emit(rec)
	exposed(
		`weft_proxy_connections_active{`+labels+rest+`} 0`,
		`weft_proxy_bytes_total{`+labels+`flow="received",`+rest+`} 20`,
		`weft_proxy_requests_total{code="1xx",`+labels+rest+`} 1`,
		`weft_proxy_successes_total{`+labels+rest+`} 1`,
		`weft_proxy_request_duration_seconds_bucket{`+labels+rest+`,le="0.004095"} 1`,
	)
}
