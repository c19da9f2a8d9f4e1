// Package flow is what travels along a request's walk: views of the request, the record that every stage adds to, and the
// typed reasons of the failures that the proxy itself makes. Stages import flow and table and nothing of each other.
package flow

import (
	"net/netip"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// Request is one request as the stages see it, whatever protocol it came by. All byte slices are views into buffers of the
// engine: valid until the request ends, never to be kept or changed.
type Request interface {
	match.Request
	// Target is the request target as sent (path and query).
	Target() []byte
	// Authority is the Host header or :authority.
	Authority() []byte
	// Idempotent says that the method may be repeated by RFC 9110 section 9.2.2 (GET, HEAD, OPTIONS, TRACE, PUT, DELETE).
	Idempotent() bool
}

// Direction says on which side of a hop this sidecar stands.
type Direction uint8

// The directions.
const (
	Outbound Direction = iota
	Inbound
)

// Protocol is what was spoken on a flow.
type Protocol uint8

// The protocols.
const (
	TCP Protocol = iota
	HTTP1
	HTTP2
	GRPC
	UDP
)

// String is the label of metrics and logs.
func (p Protocol) String() string {
	return [...]string{"tcp", "http", "http", "grpc", "udp"}[p]
}

// Record is what is known of one request (HTTP), connection (TCP) or session (UDP) when it ends. A stage writes its own fields and reads no
// one else's; observe emits it once. Records are reused: whoever keeps something copies it.
type Record struct {
	// Set by the listener.
	Direction Direction
	Start     time.Time
	// Set by detect.
	Protocol Protocol
	// Set by identity: the verified peer (inbound), zero on plaintext.
	Peer spiffeid.ID
	MTLS bool
	// Set by authz: the rule that let it pass.
	Rule string
	// Set by route: the service that was called ("namespace/name"), the route and the index of its rule.
	Service   string
	Route     string
	RuleIndex int
	// Set by balance: the endpoint that answered last; nil when none was chosen.
	Endpoint *table.Endpoint
	// Set by egress: the address outside of the mesh that was called, or was to be; not valid for calls inside.
	Outside netip.AddrPort
	// Set by forward.
	Tries         int
	Status        int   // HTTP status; 0 when there was none
	GRPCStatus    int   // gRPC status; -1 when there was none
	BytesSent     int64 // body bytes from client to server
	BytesReceived int64 // body bytes from server to client
	// Datagrams of UDP in these bytes, and those that were dropped, for whatever reason, on this side of the hop.
	DatagramsSent, DatagramsReceived, DatagramsDropped int64
	Handshakes                                         int  // TLS handshakes that this flow made
	Opened                                             bool // the flow was announced when it began, and its bytes have been counted since
	// Switched is how long it took until the connection went over to another protocol (101); 0: it did not.
	Switched time.Duration
	// Set by whoever fails.
	Reason Reason
	Err    error
	// Set at the end.
	Duration time.Duration
	// RequestID is x-request-id; empty for TCP and UDP.
	RequestID string
}

// Progress counts bytes of a stream as they flow. It is called from two goroutines.
type Progress func(sent, received int64)

// Reset makes the record as new.
func (r *Record) Reset() {
	*r = Record{GRPCStatus: -1, RuleIndex: -1}
}
