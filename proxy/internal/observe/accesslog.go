package observe

import (
	"context"
	"encoding/json"
	"io"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// queueSize is how many lines may wait for a slow reader of the log.
const queueSize = 1024

// AccessLog writes one JSON line for each sampled record. Lines that its reader is too slow for are dropped and counted.
type AccessLog struct {
	out     whole
	every   uint64
	queue   chan line
	seen    atomic.Uint64
	dropped atomic.Uint64
}

// line is what is kept of a record; the order is the order of the fields.
type line struct {
	Time       string  `json:"ts"`
	Direction  string  `json:"direction"`
	Protocol   string  `json:"protocol"`
	Source     string  `json:"source,omitempty"`
	Service    string  `json:"service,omitempty"`
	Workload   string  `json:"destination_workload,omitempty"`
	Outside    string  `json:"destination,omitempty"`
	Route      string  `json:"route,omitempty"`
	Rule       string  `json:"access_rule,omitempty"`
	Status     int     `json:"status,omitempty"`
	GRPCStatus *int    `json:"grpc_status,omitempty"`
	Reason     string  `json:"reason,omitempty"`
	Error      string  `json:"error,omitempty"`
	Seconds    float64 `json:"duration_seconds"`
	Sent       int64   `json:"bytes_sent"`
	Received   int64   `json:"bytes_received"`
	Datagrams  *counts `json:"datagrams,omitempty"`
	Tries      int     `json:"tries,omitempty"`
	MTLS       bool    `json:"mtls"`
	RequestID  string  `json:"request_id,omitempty"`
}

// counts is what became of a session's datagrams.
type counts struct {
	Sent     int64 `json:"sent"`
	Received int64 `json:"received"`
	Dropped  int64 `json:"dropped"`
}

// NewAccessLog writes every n-th record to out.
func NewAccessLog(out io.Writer, n int) *AccessLog {
	return &AccessLog{out: whole{out: out}, every: uint64(max(n, 1)), queue: make(chan line, queueSize)}
}

func (a *AccessLog) record(rec *flow.Record) {
	if a.seen.Add(1)%a.every != 0 {
		return
	}
	select {
	case a.queue <- lineOf(rec):
	default:
		a.dropped.Add(1)
	}
}

func lineOf(rec *flow.Record) line {
	l := line{
		Time:      rec.Start.UTC().Format(time.RFC3339Nano),
		Direction: directionName(rec.Direction),
		Protocol:  rec.Protocol.String(),
		Service:   rec.Service,
		Route:     rec.Route,
		Rule:      rec.Rule,
		Status:    rec.Status,
		Reason:    rec.Reason.String(),
		Seconds:   rec.Duration.Seconds(),
		Sent:      rec.BytesSent,
		Received:  rec.BytesReceived,
		Tries:     rec.Tries,
		MTLS:      rec.MTLS,
		RequestID: rec.RequestID,
	}
	if !rec.Peer.IsZero() {
		l.Source = rec.Peer.String()
	}
	if rec.Endpoint != nil {
		l.Workload = rec.Endpoint.Workload
	}
	if rec.Outside.IsValid() {
		l.Outside = rec.Outside.String()
	}
	if rec.GRPCStatus >= 0 && rec.Protocol == flow.GRPC {
		code := rec.GRPCStatus
		l.GRPCStatus = &code
	}
	if rec.Protocol == flow.UDP {
		l.Datagrams = &counts{rec.DatagramsSent, rec.DatagramsReceived, rec.DatagramsDropped}
	}
	if rec.Err != nil {
		l.Error = rec.Err.Error()
	}
	return l
}

func directionName(d flow.Direction) string {
	if d == flow.Inbound {
		return "inbound"
	}
	return "outbound"
}

// Run writes until ctx ends, and then what is queued. A log that cannot be written does not stop the sidecar.
func (a *AccessLog) Run(ctx context.Context) error {
	enc := json.NewEncoder(&a.out)
	enc.SetEscapeHTML(false)
	write := func(l line) {
		if enc.Encode(l) != nil {
			a.dropped.Add(1)
		}
	}
	for {
		select {
		case l := <-a.queue:
			write(l)
		case <-ctx.Done():
			for {
				select {
				case l := <-a.queue:
					write(l)
				default:
					return nil
				}
			}
		}
	}
}

// whole keeps lines whole where one was written in part only: the next one begins on a line of its own.
type whole struct {
	out    io.Writer
	broken bool
}

// Write writes one line.
func (w *whole) Write(line []byte) (int, error) {
	if w.broken {
		if _, err := w.out.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		w.broken = false
	}
	n, err := w.out.Write(line)
	w.broken = n > 0 && n < len(line)
	return n, err
}
