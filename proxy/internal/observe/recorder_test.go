package observe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

func recorder(t *testing.T, ca *testca.CA, maxEdges int, log *AccessLog) *Recorder {
	return New(Config{
		Namespace: "default", Workload: "shop-1", Version: "v7", MaxEdges: maxEdges, AccessLog: log,
		Source: ca.Source(t, spiffe.Account{Namespace: "default", Name: "shop"}),
	})
}

func outbound(service string) *flow.Record {
	r := &flow.Record{}
	r.Reset()
	r.Direction, r.Protocol, r.Service, r.MTLS, r.Tries, r.Status, r.Duration = flow.Outbound, flow.HTTP1, service, true, 1, 200, 3*time.Millisecond
	return r
}

func TestBucketsAreThoseOfTheContract(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Uint64Range(0, 1<<39).Draw(t, "micros")
		i := bucketOf(v)
		lower, upper := math.Pow(2, float64(i)/4), math.Pow(2, float64(i+1)/4)
		// The bounds as floats are exact to far less than 1, and v+1 is whole.
		if n := float64(v + 1); n < math.Ceil(lower-1e-6) || n > math.Ceil(upper-1e-6) {
			t.Fatalf("%d is in bucket %d, which is [%g, %g)", v, i, lower, upper)
		}
	})
	for power := range 40 {
		if got := bucketOf(1<<power - 1); got != 4*power {
			t.Errorf("2^%d-1: want bucket %d, got %d", power, 4*power, got)
		}
	}
	if got := bucketOf(math.MaxUint64); got != buckets-1 {
		t.Errorf("largest value: bucket %d", got)
	}
}

func TestSuccess(t *testing.T) {
	tests := []struct {
		name     string
		protocol flow.Protocol
		status   int
		grpc     int
		reason   flow.Reason
		want     bool
		code     string
	}{
		{"200", flow.HTTP1, 200, -1, flow.None, true, "2xx"},
		{"404 of the app", flow.HTTP2, 404, -1, flow.None, true, "4xx"},
		{"500", flow.HTTP1, 500, -1, flow.None, false, "5xx"},
		{"denied", flow.HTTP1, 403, -1, flow.Denied, false, "4xx"},
		{"client went away", flow.HTTP1, 0, -1, flow.ClientGone, true, "none"},
		{"grpc ok", flow.GRPC, 200, 0, flow.None, true, "grpc-0"},
		{"grpc not found", flow.GRPC, 200, 5, flow.None, true, "grpc-5"},
		{"grpc unknown", flow.GRPC, 200, 2, flow.None, false, "grpc-2"},
		{"grpc unavailable", flow.GRPC, 200, 14, flow.None, false, "grpc-14"},
		{"grpc exhausted, by the app", flow.GRPC, 200, 8, flow.None, true, "grpc-8"},
		{"grpc exhausted, by a proxy", flow.GRPC, 200, 8, flow.Overload, false, "grpc-8"},
		{"grpc without status, 503", flow.GRPC, 503, -1, flow.None, false, "5xx"},
		{"tcp", flow.TCP, 0, -1, flow.None, true, "none"},
		{"tcp reset", flow.TCP, 0, -1, flow.UpstreamReset, false, "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rec := &flow.Record{Protocol: tt.protocol, Status: tt.status, GRPCStatus: tt.grpc, Reason: tt.reason}
			if got := succeeded(rec, classOf(tt.protocol)); got != tt.want {
				t.Errorf("success: want %v, got %v", tt.want, got)
			}
			if got := codeName(codeOf(rec, classOf(tt.protocol))); got != tt.code {
				t.Errorf("code: want %q, got %q", tt.code, got)
			}
		})
	}
}

// TestO1_EdgesAreCountedWhole: what was emitted, from anywhere and at once, is what is reported.
func TestO1_EdgesAreCountedWhole(t *testing.T) {
	ca := testca.New(t, "weft.local")
	r := recorder(t, ca, 0, nil)
	endpoint := &table.Endpoint{Workload: "default/reviews-1", Version: "v2", ID: ca.ID(t, spiffe.Account{Namespace: "default", Name: "reviews"})}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 100 {
				rec := outbound("default/reviews")
				rec.Endpoint, rec.BytesSent, rec.BytesReceived, rec.Handshakes = endpoint, 10, 20, 1
				if i%10 == 0 {
					rec.Status, rec.Reason, rec.Tries = 503, flow.Connect, 3
				}
				r.Emit(rec)
			}
		})
	}
	wg.Wait()
	if len(r.all()) != 1 {
		t.Fatalf("edges: %d", len(r.all()))
	}
	for _, e := range r.all() {
		got, changes := r.counters(e, r.account())
		if changes != 400 || got.GetRequests() != 400 || got.GetSuccesses() != 360 || got.GetRetries() != 80 ||
			got.GetBytesSent() != 4000 || got.GetBytesReceived() != 8000 || got.GetHandshakes() != 400 ||
			got.GetFailures()["connect"] != 40 || got.GetStatuses()["2xx"] != 360 || got.GetStatuses()["5xx"] != 40 {
			t.Errorf("counters: %v", got)
		}
		want := &telemetrypb.Edge{
			Direction: telemetrypb.Direction_DIRECTION_OUTBOUND, Source: "default/shop", SourceWorkload: "default/shop-1",
			Service: "default/reviews", DestinationWorkload: "default/reviews-1", Destination: "default/reviews", Version: "v2", Protocol: "http", Mtls: true,
		}
		if diff := cmp.Diff(want.String(), got.GetEdge().String()); diff != "" {
			t.Errorf("edge (-want +got):\n%s", diff)
		}
		if h := got.GetLatency(); len(h.GetBuckets()) != 1 || h.GetCounts()[0] != 400 || h.GetSumMicros() != 400*3000 {
			t.Errorf("latency: %v", h)
		}
	}
}

func TestInboundEdgeNamesItself(t *testing.T) {
	ca := testca.New(t, "weft.local")
	r := recorder(t, ca, 0, nil)
	rec := outbound("default/shop")
	rec.Direction, rec.Peer = flow.Inbound, ca.ID(t, spiffe.Account{Namespace: "ops", Name: "probe"})
	r.Emit(rec)
	for _, e := range r.all() {
		got, _ := r.counters(e, r.account())
		edge := got.GetEdge()
		if edge.GetSource() != "ops/probe" || edge.GetSourceWorkload() != "" || edge.GetDestinationWorkload() != "default/shop-1" || edge.GetDestination() != "default/shop" || edge.GetVersion() != "v7" {
			t.Errorf("edge: %v", edge)
		}
	}
}

func TestEdgesAreBounded(t *testing.T) {
	r := recorder(t, testca.New(t, "weft.local"), 3, nil)
	for i := range 10 {
		r.Emit(outbound(fmt.Sprint("default/service-", i)))
	}
	total := uint64(0)
	for _, e := range r.all() {
		total += e.requests.Load()
	}
	if len(r.all()) != 4 || total != 10 || r.overflow.Load() != 7 {
		t.Errorf("%d edges, %d requests, %d over the limit", len(r.all()), total, r.overflow.Load())
	}
}

func TestEmitOfAKnownEdgeDoesNotAllocate(t *testing.T) {
	r := recorder(t, testca.New(t, "weft.local"), 0, nil)
	rec := outbound("default/reviews")
	rec.Endpoint = &table.Endpoint{Workload: "default/reviews-1"}
	r.Emit(rec)
	if n := testing.AllocsPerRun(100, func() { r.Emit(rec) }); n != 0 {
		t.Errorf("allocations: %g", n)
	}
}

func TestExposition(t *testing.T) {
	r := recorder(t, testca.New(t, "weft.local"), 0, nil)
	r.Emit(outbound("default/reviews"))
	failed := outbound("default/reviews")
	failed.Reason, failed.Status = flow.NoEndpoint, 503
	r.Emit(failed)
	w := httptest.NewRecorder()
	health := Health{Connected: map[string]bool{"distributor": true}, SVIDExpiry: time.Unix(1000, 0), ConfigConfirmed: time.Now()}
	r.Metrics(func() Health { return health }).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	labels := `destination="",destination_service="default/reviews",destination_workload="",direction="outbound",mtls="true",protocol="http"`
	for _, want := range []string{
		`weft_proxy_requests_total{code="2xx",` + labels + `,source="default/shop",version=""} 1`,
		`weft_proxy_requests_total{code="5xx",` + labels + `,source="default/shop",version=""} 1`,
		`weft_proxy_failures_total{` + labels + `,reason="no_endpoint",source="default/shop",version=""} 1`,
		`weft_proxy_request_duration_seconds_count{` + labels + `,source="default/shop",version=""} 2`,
		`weft_proxy_request_duration_seconds_bucket{` + labels + `,source="default/shop",version="",le="0.004095"} 2`,
		`weft_proxy_request_duration_seconds_bucket{` + labels + `,source="default/shop",version="",le="0.002047"} 0`,
		`weft_proxy_connected{service="distributor"} 1`,
		`weft_proxy_svid_expiry_timestamp_seconds 1000`,
		`weft_proxy_edges 1`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Log(w.Body.String())
	}
}

func TestExternalServicesAreSeenByName(t *testing.T) {
	log := &strings.Builder{}
	access := NewAccessLog(log, 1)
	r := recorder(t, testca.New(t, "weft.local"), 0, access)
	for _, service := range []string{"default/pay", "external"} {
		rec := outbound(service)
		rec.Protocol, rec.Status, rec.MTLS, rec.Outside = flow.TCP, 0, false, netip.MustParseAddrPort("192.0.2.1:443")
		if service == "external" {
			rec.Reason = flow.Egress
		}
		r.Emit(rec)
	}
	w := httptest.NewRecorder()
	r.Metrics(func() Health { return Health{} }).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`destination_service="default/pay",destination_workload="",direction="outbound",mtls="false",protocol="tcp"`,
		`destination_service="external",destination_workload="",direction="outbound",mtls="false",protocol="tcp",reason="egress"`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("missing: %s in\n%s", want, w.Body)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := access.Run(ctx); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"service":"default/pay","destination":"192.0.2.1:443"`, `"reason":"egress"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("missing: %s in %s", want, log)
		}
	}
}

// slow is a log that takes nothing until it is released.
type slow struct {
	release chan struct{}
	strings.Builder
}

func (s *slow) Write(p []byte) (int, error) {
	<-s.release
	return s.Builder.Write(p)
}

func TestAccessLogSamplesAndDropsRatherThanWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &slow{release: make(chan struct{})}
		log := NewAccessLog(out, 2)
		r := recorder(t, testca.New(t, "weft.local"), 0, log)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- log.Run(ctx) }()
		const n = 2 * (queueSize + 100)
		for range n {
			rec := outbound("default/reviews")
			rec.Reason, rec.Err, rec.RequestID = flow.Connect, errors.New("refused"), "id"
			r.Emit(rec)
		}
		cancel()
		close(out.release)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if got := uint64(len(lines)) + log.dropped.Load(); got != n/2 || log.dropped.Load() == 0 {
			t.Errorf("%d lines and %d dropped of %d", len(lines), log.dropped.Load(), n/2)
		}
		var line map[string]any
		if err := json.Unmarshal([]byte(lines[0]), &line); err != nil {
			t.Fatal(err)
		}
		if line["reason"] != "connect" || line["error"] != "refused" || line["service"] != "default/reviews" || line["request_id"] != "id" || line["grpc_status"] != nil {
			t.Errorf("line: %v", line)
		}
	})
}

// A stream shows while it is open, with its bytes as they flow, and counts once when it has ended.
func TestO1_OpenStreamsAreSeen(t *testing.T) {
	r := recorder(t, testca.New(t, "weft.local"), 0, nil)
	rec := outbound("default/redis")
	rec.Protocol, rec.Status = flow.TCP, 0
	progress := r.Open(rec)
	rec.Opened = true
	progress(10, 0)
	progress(0, 300)

	got := func() *telemetrypb.EdgeCounters {
		for _, e := range r.all() {
			pb, _ := r.counters(e, "default/shop")
			return pb
		}
		return nil
	}
	if c := got(); c.GetActive() != 1 || c.GetRequests() != 0 || c.GetBytesSent() != 10 || c.GetBytesReceived() != 300 {
		t.Errorf("while open: %v", c)
	}
	rec.BytesSent, rec.BytesReceived = 10, 300
	r.Emit(rec)
	if c := got(); c.GetActive() != 0 || c.GetRequests() != 1 || c.GetSuccesses() != 1 || c.GetBytesSent() != 10 || c.GetBytesReceived() != 300 {
		t.Errorf("at the end: %v", c)
	}
}
