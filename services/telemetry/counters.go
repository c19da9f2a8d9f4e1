package telemetry

import (
	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
)

// edge is a comparable telemetrypb.Edge.
type edge struct {
	direction           telemetrypb.Direction
	source              string
	sourceWorkload      string
	service             string
	destinationWorkload string
	destination         string
	version             string
	protocol            string
	mtls                bool
}

func edgeFrom(e *telemetrypb.Edge) edge {
	return edge{
		direction: e.GetDirection(), source: e.GetSource(), sourceWorkload: e.GetSourceWorkload(),
		service: e.GetService(), destinationWorkload: e.GetDestinationWorkload(), destination: e.GetDestination(),
		version: e.GetVersion(), protocol: e.GetProtocol(), mtls: e.GetMtls(),
	}
}

func (e edge) proto() *telemetrypb.Edge {
	return &telemetrypb.Edge{
		Direction: e.direction, Source: e.source, SourceWorkload: e.sourceWorkload,
		Service: e.service, DestinationWorkload: e.destinationWorkload, Destination: e.destination,
		Version: e.version, Protocol: e.protocol, Mtls: e.mtls,
	}
}

// counters are what one edge counted. They are immutable values; all arithmetic goes counter by counter through with.
type counters struct {
	requests, successes, retries, handshakes uint64
	bytesSent, bytesReceived                 uint64
	failures, statuses                       sparse[string]
	latency                                  sparse[uint32]
	sumMicros                                uint64
	// active is a reading: it is taken over from the newest report, never counted up.
	active uint64
}

func countersFrom(c *telemetrypb.EdgeCounters) counters {
	return counters{
		requests: c.GetRequests(), successes: c.GetSuccesses(), retries: c.GetRetries(), handshakes: c.GetHandshakes(),
		bytesSent: c.GetBytesSent(), bytesReceived: c.GetBytesReceived(),
		failures: fromMap(c.GetFailures()), statuses: fromMap(c.GetStatuses()),
		latency: histogramFrom(c.GetLatency()), sumMicros: c.GetLatency().GetSumMicros(), active: c.GetActive(),
	}
}

func (c counters) proto(e *telemetrypb.Edge) *telemetrypb.EdgeCounters {
	return &telemetrypb.EdgeCounters{
		Edge: e, Requests: c.requests, Successes: c.successes, Retries: c.retries, Handshakes: c.handshakes,
		BytesSent: c.bytesSent, BytesReceived: c.bytesReceived,
		Failures: toMap(c.failures), Statuses: toMap(c.statuses), Latency: histogramTo(c.latency, c.sumMicros), Active: c.active,
	}
}

// with applies op to every counter of c and o.
func (c counters) with(o counters, op func(x, y uint64) uint64) counters {
	return counters{
		requests: op(c.requests, o.requests), successes: op(c.successes, o.successes),
		retries: op(c.retries, o.retries), handshakes: op(c.handshakes, o.handshakes),
		bytesSent: op(c.bytesSent, o.bytesSent), bytesReceived: op(c.bytesReceived, o.bytesReceived),
		failures: combine(c.failures, o.failures, op), statuses: combine(c.statuses, o.statuses, op),
		latency: combine(c.latency, o.latency, op), sumMicros: op(c.sumMicros, o.sumMicros),
		active: op(c.active, o.active),
	}
}

func sum(x, y uint64) uint64     { return x + y }
func larger(x, y uint64) uint64  { return max(x, y) }
func smaller(x, y uint64) uint64 { return min(x, y) }

// minus never goes below zero.
func minus(x, y uint64) uint64 { return max(x, y) - y }

// quiet says that nothing happened: no request ended and no byte moved.
func (c counters) quiet() bool {
	return c.requests == 0 && c.retries == 0 && c.handshakes == 0 && c.bytesSent == 0 && c.bytesReceived == 0 &&
		len(c.failures) == 0
}
