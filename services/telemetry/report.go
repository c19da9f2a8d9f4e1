package telemetry

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

const (
	// maxText is the longest name in a report: two labels of 63 bytes and a slash fit.
	maxText = 256
	// maxLabels is how many reasons or statuses one edge may tell apart.
	maxLabels = 64
)

// Report takes one sidecar's reports until the stream ends, from either side.
func (s *Service) Report(stream grpc.BidiStreamingServer[telemetrypb.ReportRequest, telemetrypb.ReportResponse]) error {
	caller := rpc.CallerFrom(stream.Context())
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		sidecar, start, edges, err := parseReport(req, caller)
		if err != nil {
			return err
		}
		s.count(sidecar, s.memory.take(s.deps.Now(), sidecar, start, edges))
		if err := stream.Send(&telemetrypb.ReportResponse{}); err != nil {
			return fmt.Errorf("answer report of sidecar %q: %w", sidecar, err)
		}
	}
}

func (s *Service) count(sidecar string, over overflow) {
	if over == (overflow{}) {
		return
	}
	s.metrics.overflow.WithLabelValues("sidecar").Add(float64(over.sidecars))
	s.metrics.overflow.WithLabelValues("edge").Add(float64(over.edges))
	s.deps.Log.Debug("no room for everything in a report", zap.String("sidecar", sidecar),
		zap.Int("sidecars_left_out", over.sidecars), zap.Int("edges_left_out", over.edges))
}

// parseReport checks a report as a whole: it is taken whole or not at all.
func parseReport(req *telemetrypb.ReportRequest, caller rpc.Caller) (sidecar string, start time.Time, edges []reported, err error) {
	sidecar = req.GetSidecar()
	namespace, name, ok := strings.Cut(sidecar, "/")
	if !ok || namespace == "" || name == "" || len(sidecar) > maxText {
		return "", start, nil, fault.InvalidFields("report", []fault.Field{{
			Path: "sidecar", Problem: fmt.Sprintf("%q is not \"namespace/workload\"", sidecar),
		}})
	}
	if namespace != caller.Account.Namespace {
		return "", start, nil, fault.New(fault.Denied, "caller %q may not report for sidecar %q: only for workloads of namespace %q",
			caller.Account, sidecar, caller.Account.Namespace)
	}
	var fields []fault.Field
	if req.GetStartTime() == nil || req.GetStartTime().CheckValid() != nil {
		fields = append(fields, fault.Field{Path: "start_time", Problem: "must say when the sidecar's process started"})
	}
	edges = make([]reported, 0, len(req.GetEdges()))
	for i, c := range req.GetEdges() {
		path := fmt.Sprintf("edges[%d]", i)
		e := edgeFrom(c.GetEdge())
		problems := append(ownSide(&e, path, sidecar, caller.Account.String()), checkCounters(c, path)...)
		fields = append(fields, problems...)
		if len(problems) == 0 {
			edges = append(edges, reported{e, countersFrom(c)})
		}
	}
	if len(fields) > 0 {
		return "", start, nil, fault.InvalidFields(fmt.Sprintf("report of sidecar %q", sidecar), fields)
	}
	return sidecar, req.GetStartTime().AsTime(), edges, nil
}

// ownSide fills in what an edge says of the reporting side, and refuses an edge of somebody else: a sidecar can tell lies
// about itself only.
func ownSide(e *edge, path, sidecar, account string) []fault.Field {
	var fields []fault.Field
	own := func(field string, value *string, want string) {
		if *value == "" {
			*value = want
		}
		if *value != want {
			fields = append(fields, fault.Field{
				Path: path + ".edge." + field, Problem: fmt.Sprintf("is %q, but the caller is %q", *value, want),
			})
		}
	}
	switch e.direction {
	case telemetrypb.Direction_DIRECTION_OUTBOUND:
		own("source", &e.source, account)
		own("source_workload", &e.sourceWorkload, sidecar)
	case telemetrypb.Direction_DIRECTION_INBOUND:
		own("destination", &e.destination, account)
		own("destination_workload", &e.destinationWorkload, sidecar)
	default:
		fields = append(fields, fault.Field{Path: path + ".edge.direction", Problem: "must be outbound or inbound"})
	}
	for _, text := range []string{
		e.source, e.sourceWorkload, e.service, e.destinationWorkload, e.destination, e.version, e.protocol,
	} {
		if len(text) > maxText {
			return append(fields, fault.Field{Path: path + ".edge", Problem: fmt.Sprintf("has a name longer than %d bytes", maxText)})
		}
	}
	return fields
}

// checkCounters bounds what one edge can hold.
func checkCounters(c *telemetrypb.EdgeCounters, path string) []fault.Field {
	var fields []fault.Field
	for name, labels := range map[string]map[string]uint64{"failures": c.GetFailures(), "statuses": c.GetStatuses()} {
		if len(labels) > maxLabels {
			fields = append(fields, fault.Field{Path: path + "." + name, Problem: fmt.Sprintf("tells more than %d things apart", maxLabels)})
		}
		for label := range labels {
			if len(label) > maxText {
				fields = append(fields, fault.Field{Path: path + "." + name, Problem: fmt.Sprintf("has a name longer than %d bytes", maxText)})
				break
			}
		}
	}
	h := c.GetLatency()
	if len(h.GetBuckets()) != len(h.GetCounts()) {
		return append(fields, fault.Field{Path: path + ".latency", Problem: "has not as many counts as buckets"})
	}
	for i, b := range h.GetBuckets() {
		if b > maxBucket || i > 0 && b <= h.GetBuckets()[i-1] {
			return append(fields, fault.Field{
				Path: path + ".latency.buckets", Problem: fmt.Sprintf("must ascend and not exceed %d", maxBucket),
			})
		}
	}
	return fields
}
