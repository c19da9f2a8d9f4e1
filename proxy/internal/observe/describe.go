package observe

import (
	"strconv"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// describe spells an edge out, with the own side filled in.
func (r *Recorder) describe(k edgeKey, own string) *telemetrypb.Edge {
	e := &telemetrypb.Edge{Service: k.service, Protocol: k.class.String(), Mtls: k.mtls}
	if k.direction == flow.Inbound {
		e.Direction = telemetrypb.Direction_DIRECTION_INBOUND
		e.Source = accountOf(k.peer)
		e.Destination = own
		e.DestinationWorkload = r.workload()
		e.Version = r.cfg.Version
		return e
	}
	e.Direction = telemetrypb.Direction_DIRECTION_OUTBOUND
	e.Source = own
	e.SourceWorkload = r.workload()
	e.Destination = accountOf(k.peer)
	e.DestinationWorkload = k.workload
	e.Version = k.version
	return e
}

func accountOf(id spiffeid.ID) string {
	if id.IsZero() {
		return ""
	}
	a, err := spiffe.ParseID(id)
	if err != nil {
		return id.String()
	}
	return a.String()
}

// codeName is the label of a code class.
func codeName(code int) string {
	switch {
	case code == codeNone:
		return "none"
	case code < codeGRPC:
		return strconv.Itoa(code) + "xx"
	default:
		return "grpc-" + strconv.Itoa(code-codeGRPC)
	}
}

// counters is an edge as the telemetry contract has it. changes is read first, so that what comes later is not missed.
func (r *Recorder) counters(e *edge, own string) (pb *telemetrypb.EdgeCounters, changes uint64) {
	changes = e.changes.Load()
	pb = &telemetrypb.EdgeCounters{
		Edge:          r.describe(e.key, own),
		Requests:      e.requests.Load(),
		Successes:     e.successes.Load(),
		Retries:       e.retries.Load(),
		BytesSent:     e.sent.Load(),
		BytesReceived: e.received.Load(),
		Handshakes:    e.handshake.Load(),
		Active:        uint64(max(e.active.Load(), 0)),
		Failures:      map[string]uint64{},
		Statuses:      map[string]uint64{},
		Latency:       &telemetrypb.Histogram{SumMicros: e.latency.sum.Load()},
	}
	for i := range e.codes {
		if n := e.codes[i].Load(); n > 0 && i != codeNone {
			pb.Statuses[codeName(i)] = n
		}
	}
	for i := range e.failures {
		if n := e.failures[i].Load(); n > 0 {
			pb.Failures[flow.Reason(i).String()] = n
		}
	}
	for i := range e.latency.counts {
		if n := e.latency.counts[i].Load(); n > 0 {
			pb.Latency.Buckets = append(pb.Latency.Buckets, uint32(i))
			pb.Latency.Counts = append(pb.Latency.Counts, n)
		}
	}
	return pb, changes
}
