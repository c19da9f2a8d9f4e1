package telemetry

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// clock is moved by the test between calls.
type clock struct{ now time.Time }

// peers are fixed.
type peers map[rpc.Peer]grpc.ClientConnInterface

func (p peers) List() []rpc.Peer {
	var out []rpc.Peer
	for peer := range p {
		out = append(out, peer)
	}
	return out
}

func (p peers) Dial(peer rpc.Peer) (grpc.ClientConnInterface, error) {
	if conn := p[peer]; conn != nil {
		return conn, nil
	}
	return nil, errors.New("no route to host")
}

type replica struct {
	service *Service
	metrics *prometheus.Registry
	client  telemetrypb.TelemetryServiceClient
	conn    *grpc.ClientConn
}

// start serves a replica whose callers are all of one account.
func start(t *testing.T, now *clock, name string, others peers) replica {
	t.Helper()
	registry := prometheus.NewRegistry()
	s, err := New(Default(), Deps{
		Log: zap.NewNop(), Metrics: registry, Peers: others, Replica: name, Now: func() time.Time { return now.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	caller := rpc.Caller{Account: spiffe.Account{Namespace: "default", Name: "web"}}
	server := grpc.NewServer(grpc.StreamInterceptor(
		func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			return handler(srv, calledBy{stream, rpc.WithCaller(stream.Context(), caller)})
		}))
	telemetrypb.RegisterTelemetryServiceServer(server, s)
	listener := bufconn.Listen(1 << 16)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:///"+name, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return replica{service: s, metrics: registry, client: telemetrypb.NewTelemetryServiceClient(conn), conn: conn}
}

type calledBy struct {
	grpc.ServerStream
	ctx context.Context
}

func (s calledBy) Context() context.Context { return s.ctx }

func report(t *testing.T, r replica, req *telemetrypb.ReportRequest) {
	t.Helper()
	stream, err := r.client.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(req); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("end of the stream: %v", err)
	}
}

func reportOf(start time.Time, edges map[edge]uint64) *telemetrypb.ReportRequest {
	req := &telemetrypb.ReportRequest{Sidecar: "default/web-1", StartTime: timestamppb.New(start)}
	for e, n := range edges {
		req.Edges = append(req.Edges, requests(n).proto(e.proto()))
	}
	return req
}

func TestO2_AnyReplicaAnswersForTheMesh(t *testing.T) {
	now := &clock{epoch()}
	a := start(t, now, "a", peers{})
	b := start(t, now, "b", peers{{Replica: "a", Address: "10.0.0.1:9714"}: a.conn, {Replica: "c", Address: "10.0.0.3:9714"}: nil})

	begin := epoch()
	for i, r := range []replica{a, a, b, a, b} { // the sidecar moves to and fro
		now.now = begin.Add(time.Duration(i+1) * time.Second)
		report(t, r, reportOf(begin, map[edge]uint64{outbound(1): uint64(10 * (i + 1)), outbound(2): uint64(i + 1)}))
	}
	got, err := b.client.QueryEdges(t.Context(), &telemetrypb.QueryEdgesRequest{
		Window: durationpb.New(3 * time.Second), GroupBy: telemetrypb.GroupBy_GROUP_BY_SERVICE,
	})
	if err != nil {
		t.Fatal(err)
	}
	var services []string
	for _, r := range got.GetRows() {
		services = append(services, r.GetEdge().GetService())
	}
	if diff := cmp.Diff([]string{"default/s1", "default/s2"}, services); diff != "" {
		t.Errorf("rows, busiest first: %s", diff)
	}
	if n := got.GetRows()[0].GetRequests(); n != 30 {
		t.Errorf("%d requests in three seconds, want 30", n)
	}
	first := got.GetRows()[0]
	if first.GetSuccesses() != 30 || first.GetRequestsPerSecond() != 10 || !first.GetEdge().GetMtls() {
		t.Errorf("row %v, want 30 successes, 10 a second, over mTLS", first)
	}
	for _, q := range []*durationpb.Duration{first.GetP50(), first.GetP90(), first.GetP99()} {
		if d := q.AsDuration(); d < 900*time.Microsecond || d > 1300*time.Microsecond { // bucket 40 is about 1 ms
			t.Errorf("quantile %v, want about 1 ms", d)
		}
	}
	if diff := cmp.Diff([]string{"10.0.0.3:9714"}, got.GetUnreachableReplicas()); diff != "" {
		t.Error(diff)
	}
	whole, err := b.client.QueryEdges(t.Context(), &telemetrypb.QueryEdgesRequest{Cumulative: true, Namespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	if n := whole.GetRows()[0].GetRequests(); n != 50 {
		t.Errorf("%d requests since the start, want 50", n)
	}
	if other, err := b.client.QueryEdges(t.Context(), &telemetrypb.QueryEdgesRequest{Namespace: "elsewhere"}); err != nil || len(other.GetRows()) != 0 {
		t.Errorf("rows of another namespace: %v, %v", other.GetRows(), err)
	}
}

func TestO3_ExpositionShowsTheWholeMesh(t *testing.T) {
	now := &clock{epoch()}
	a := start(t, now, "a", peers{})
	b := start(t, now, "b", peers{{Replica: "a"}: a.conn})
	report(t, a, reportOf(epoch(), map[edge]uint64{outbound(1): 10}))
	report(t, b, reportOf(epoch(), map[edge]uint64{outbound(1): 12}))
	want := strings.NewReader(`
# HELP weft_mesh_requests_total Requests (for TCP: connections) that ended.
# TYPE weft_mesh_requests_total counter
weft_mesh_requests_total{destination="",destination_workload="default/s1-1",direction="outbound",mtls="true",protocol="http",result="failure",service="default/s1",source="default/web",source_workload="default/web-1",version=""} 0
weft_mesh_requests_total{destination="",destination_workload="default/s1-1",direction="outbound",mtls="true",protocol="http",result="success",service="default/s1",source="default/web",source_workload="default/web-1",version=""} 12
`)
	if err := testutil.GatherAndCompare(b.metrics, want, "weft_mesh_requests_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(b.metrics); err != nil || len(problems) > 0 {
		t.Errorf("exposition: %v, %v", problems, err)
	}
	families, err := b.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "weft_mesh_latency_seconds" && f.GetMetric()[0].GetHistogram().GetSampleCount() == 12 {
			return
		}
	}
	t.Error("no weft_mesh_latency_seconds with 12 samples")
}

func TestParseReport(t *testing.T) {
	caller := rpc.Caller{Account: spiffe.Account{Namespace: "default", Name: "web"}}
	good := func() *telemetrypb.ReportRequest { return reportOf(epoch(), map[edge]uint64{outbound(1): 3}) }
	tests := []struct {
		name   string
		change func(r *telemetrypb.ReportRequest)
		kind   fault.Kind
		path   string
	}{
		{"other namespace", func(r *telemetrypb.ReportRequest) { r.Sidecar = "shop/web-1" }, fault.Denied, ""},
		{"no workload", func(r *telemetrypb.ReportRequest) { r.Sidecar = "default" }, fault.Invalid, "sidecar"},
		{"no start", func(r *telemetrypb.ReportRequest) { r.StartTime = nil }, fault.Invalid, "start_time"},
		{"other caller's edge", func(r *telemetrypb.ReportRequest) { r.Edges[0].Edge.Source = "default/db" }, fault.Invalid, "edges[0].edge.source"},
		{"no direction", func(r *telemetrypb.ReportRequest) { r.Edges[0].Edge.Direction = 0 }, fault.Invalid, "edges[0].edge.direction"},
		{"counts without buckets", func(r *telemetrypb.ReportRequest) { r.Edges[0].Latency.Buckets = nil }, fault.Invalid, "edges[0].latency"},
		{"bucket out of range", func(r *telemetrypb.ReportRequest) { r.Edges[0].Latency.Buckets[0] = 4000 }, fault.Invalid, "edges[0].latency.buckets"},
		{"endless name", func(r *telemetrypb.ReportRequest) { r.Edges[0].Edge.Service = strings.Repeat("s", 300) }, fault.Invalid, "edges[0].edge"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := good()
			test.change(req)
			_, _, _, err := parseReport(req, caller)
			if fault.KindOf(err) != test.kind || err == nil {
				t.Fatalf("error %v, want kind %v", err, test.kind)
			}
			var f *fault.Error
			if test.path != "" && (!errors.As(err, &f) || !slices.ContainsFunc(f.Fields, func(f fault.Field) bool { return f.Path == test.path })) {
				t.Errorf("error %v does not name field %q", err, test.path)
			}
		})
	}
	t.Run("fills in its own side", func(t *testing.T) {
		req := good()
		req.Edges[0].Edge.Source, req.Edges[0].Edge.SourceWorkload = "", ""
		_, _, edges, err := parseReport(req, caller)
		if err != nil || edges[0].edge != outbound(1) {
			t.Errorf("%+v, %v", edges, err)
		}
	})
}
