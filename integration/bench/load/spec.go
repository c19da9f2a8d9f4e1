package load

import (
	"net/netip"
	"slices"
	"time"
)

// Kinds of load.
const (
	// HTTP is requests on connections that stay, each connection's next one when the last has been answered.
	HTTP = "http"
	// HTTPNew is a connection for each request.
	HTTPNew = "http-new"
	// HTTPRate is requests at a fixed rate, whatever becomes of those before. Latency counts from when one was due.
	HTTPRate = "http-rate"
	// GRPC is unary calls, so many at a time on each connection.
	GRPC = "grpc"
	// TCPEcho is messages of EchoBytes that come back.
	TCPEcho = "tcp-echo"
	// TCPBulk is a download without end; a megabyte of it counts as one.
	TCPBulk = "tcp-bulk"
	// Handshake is a full mTLS handshake, one request and the end of the connection.
	Handshake = "handshake"
	// Idle is connections that made one request each and stay until the next Spec.
	Idle = "idle"
)

// EchoBytes is the size of a message that comes back.
const EchoBytes = 128

// Spec is one load.
type Spec struct {
	Kind    string         `json:"kind"`
	Address netip.AddrPort `json:"address"`
	// Path of HTTP requests.
	Path string `json:"path,omitempty"`
	// Conns is how many connections there are, Streams how many calls at a time on each.
	Conns   int `json:"conns"`
	Streams int `json:"streams,omitempty"`
	// Rate is requests a second.
	Rate int `json:"rate,omitempty"`
	// Warm passes before For is measured.
	Warm time.Duration `json:"warm"`
	For  time.Duration `json:"for"`
	// Pids are the processes whose CPU time is measured.
	Pids []int `json:"pids,omitempty"`
	// TLS is for Handshake.
	TLS *TLS `json:"tls,omitempty"`
}

// TLS is how a client proves itself, and what it proves.
type TLS struct {
	// Cert, Key and CA are files; without Cert the client has no certificate.
	Cert, Key, CA string
	// ServerName and ALPN that are asked for.
	ServerName, ALPN string
}

// Result is what came of a load, in the time that was measured.
type Result struct {
	// Err is why there is no result.
	Err string `json:"err,omitempty"`
	// Done is how many answers came: megabytes of a download.
	Done float64 `json:"done"`
	// Seconds that were measured.
	Seconds float64 `json:"seconds"`
	// CPU is microseconds that each process used, in the order of Spec.Pids.
	CPU []float64 `json:"cpu_us"`
	// P50, P90, P99 and P999 are microseconds until an answer was complete.
	P50  float64 `json:"p50_us"`
	P90  float64 `json:"p90_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
}

// meter counts answers while it measures.
type meter struct {
	began     time.Time
	measuring bool
	done      float64
	times     []int64 // nanoseconds
}

// now is nanoseconds since the meter was made.
func (m *meter) now() int64 { return int64(time.Since(m.began)) }

// count notes one answer to what was begun then.
func (m *meter) count(begun int64) {
	if m.measuring {
		m.done++
		m.times = append(m.times, m.now()-begun)
	}
}

func (m *meter) result(seconds float64, cpu []float64) Result {
	slices.Sort(m.times)
	at := func(p float64) float64 {
		if len(m.times) == 0 {
			return 0
		}
		return float64(m.times[min(len(m.times)-1, int(p*float64(len(m.times))))]) / 1e3
	}
	return Result{Done: m.done, Seconds: seconds, CPU: cpu, P50: at(.5), P90: at(.9), P99: at(.99), P999: at(.999)}
}
