package observe

import (
	"strings"
	"sync/atomic"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// class is how a protocol is counted: HTTP/1.1 and HTTP/2 are one.
type class uint8

const (
	classTCP class = iota
	classHTTP
	classGRPC
	classUDP
)

func (c class) String() string { return [...]string{"tcp", "http", "grpc", "udp"}[c] }

// streams says that what is counted has a beginning that is announced, and no status.
func (c class) streams() bool { return c == classTCP || c == classUDP }

func classOf(p flow.Protocol) class {
	switch p {
	case flow.GRPC:
		return classGRPC
	case flow.HTTP1, flow.HTTP2:
		return classHTTP
	case flow.UDP:
		return classUDP
	default:
		return classTCP
	}
}

// edgeKey is what tells edges apart. The own side is the same for all and left out.
type edgeKey struct {
	direction flow.Direction
	class     class
	mtls      bool
	other     bool        // the edge of everything beyond the limit
	peer      spiffeid.ID // inbound: the caller; outbound: the endpoint
	service   string
	workload  string // outbound: the endpoint's
	version   string // outbound: the endpoint's
}

func keyOf(rec *flow.Record) edgeKey {
	k := edgeKey{direction: rec.Direction, class: classOf(rec.Protocol), mtls: rec.MTLS, service: rec.Service}
	if rec.Direction == flow.Inbound {
		k.peer = rec.Peer
		return k
	}
	if e := rec.Endpoint; e != nil {
		k.peer, k.workload, k.version = e.ID, e.Workload, e.Version
	}
	return k
}

// Numbers of the code classes: HTTP 1xx–5xx, then gRPC 0–16; 0 is none.
const (
	codeNone   = 0
	codeGRPC   = 6
	codes      = codeGRPC + 17
	maxReasons = 32
)

// edge is the counters of one edge. changes is added to last, so that who reads it first sees at least that much of the rest.
type edge struct {
	key       edgeKey
	codes     [codes]atomic.Uint64
	failures  [maxReasons]atomic.Uint64
	requests  atomic.Uint64
	successes atomic.Uint64
	retries   atomic.Uint64
	sent      atomic.Uint64
	received  atomic.Uint64
	handshake atomic.Uint64
	active    atomic.Int64
	streams   atomic.Bool // it has had one
	latency   histogram
	changes   atomic.Uint64
}

func newEdge(key edgeKey) *edge {
	key.service = strings.Clone(key.service) // it may be a view into something larger
	return &edge{key: key}
}

func (e *edge) add(rec *flow.Record) {
	e.requests.Add(1)
	if succeeded(rec, e.key.class) {
		e.successes.Add(1)
	}
	e.codes[codeOf(rec, e.key.class)].Add(1)
	if rec.Reason != flow.None && rec.Reason < maxReasons {
		e.failures[rec.Reason].Add(1)
	}
	if rec.Tries > 1 {
		e.retries.Add(uint64(rec.Tries - 1))
	}
	if rec.Opened {
		e.active.Add(-1)
	} else {
		addPositive(&e.sent, rec.BytesSent)
		addPositive(&e.received, rec.BytesReceived)
	}
	addPositive(&e.handshake, int64(rec.Handshakes))
	if rec.Switched > 0 { // how long a WebSocket lives is nobody's latency
		e.latency.observe(rec.Switched)
	} else {
		e.latency.observe(rec.Duration)
	}
	e.changes.Add(1)
}

// open counts a stream that has begun.
func (e *edge) open() {
	e.streams.Store(true)
	e.active.Add(1)
	e.changes.Add(1)
}

// progress counts bytes of a stream that is open.
func (e *edge) progress(sent, received int64) {
	addPositive(&e.sent, sent)
	addPositive(&e.received, received)
	e.changes.Add(1)
}

func addPositive(to *atomic.Uint64, n int64) {
	if n > 0 {
		to.Add(uint64(n))
	}
}

// succeeded is the mesh's one rule: not a failure made by a proxy and not 5xx; for gRPC any status but those that say that the
// server failed. A client that went away did not fail by a proxy.
func succeeded(rec *flow.Record, c class) bool {
	if rec.Reason != flow.None && rec.Reason != flow.ClientGone {
		return false
	}
	if c == classGRPC && rec.GRPCStatus >= 0 {
		switch rec.GRPCStatus {
		case 2, 4, 13, 14, 15: // Unknown, DeadlineExceeded, Internal, Unavailable, DataLoss
			return false
		default:
			return true
		}
	}
	return c.streams() || rec.Status < 500
}

func codeOf(rec *flow.Record, c class) int {
	if c == classGRPC && rec.GRPCStatus >= 0 && rec.GRPCStatus < codes-codeGRPC {
		return codeGRPC + rec.GRPCStatus
	}
	if hundred := rec.Status / 100; !c.streams() && hundred >= 1 && hundred <= 5 {
		return hundred
	}
	return codeNone
}
