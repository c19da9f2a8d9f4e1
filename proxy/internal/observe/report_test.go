package observe

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/controltest"
	"github.com/weft-mesh/weft/proxy/internal/uplink"
)

// TestO2_ReportsAreCumulativeOverReplicas: what was counted reaches whoever is there, also after a replica was lost and also
// when the sidecar ends at once.
func TestO2_ReportsAreCumulativeOverReplicas(t *testing.T) {
	plane := controltest.New(t)
	source := plane.CA.Source(t, spiffe.Account{Namespace: "default", Name: "shop"})
	connect, err := uplink.SPIFFE(source, plane.CA.TrustDomain(), "telemetry")
	if err != nil {
		t.Fatal(err)
	}
	link, err := uplink.New(uplink.Config{Service: "telemetry", Addresses: plane.Addresses().Telemetry, Connect: connect}, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	r := recorder(t, plane.CA, 0, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- NewReporter(r, link).Run(ctx) }()
	limit, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	awaits := func(requests uint64) {
		t.Helper()
		if _, err := plane.Telemetry.Await(limit, func(e *telemetrypb.EdgeCounters) bool { return e.GetRequests() == requests }); err != nil {
			t.Fatalf("%d requests: %v", requests, err)
		}
	}
	r.Emit(outbound("default/reviews"))
	awaits(1)
	plane.Stop()
	r.Emit(outbound("default/reviews"))
	plane.Start()
	awaits(2)
	r.Emit(outbound("default/reviews"))
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	awaits(3)
}
