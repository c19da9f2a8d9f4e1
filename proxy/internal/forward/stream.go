package forward

import (
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// Stream relays bytes between a client's connection and one to an endpoint until both have ended, closes both, and emits
// rec, which the caller has begun. permit, unless nil, is asked once the stream can be found by Recheck, so that no change
// slips in between.
func (e *Engine) Stream(client, up *wire.Conn, rec *flow.Record, permit func() bool) {
	l := &live{peer: rec.Peer, client: client}
	e.add(l)
	defer e.remove(l)
	l.begin(nil, rec)
	l.use(up, rec.Endpoint)
	if permit != nil && !permit() {
		l.deny()
	}
	r := relay{client: client, up: up, live: l, idle: e.cfg.StreamIdle}
	if e.cfg.Open != nil {
		r.progress = e.cfg.Open(rec)
		rec.Opened = true
	}
	client.Arm(e.cfg.StreamIdle)
	up.Arm(e.cfg.StreamIdle)
	r.run()
	ended := l.end()
	up.Close()
	client.Close()
	rec.BytesSent, rec.BytesReceived = r.sent, r.received
	rec.Reason, rec.Err = r.outcome()
	if ended != flow.None {
		rec.Reason = ended
	}
	e.End(rec)
}

// End emits a record that never came to an exchange.
func (e *Engine) End(rec *flow.Record) {
	rec.Duration = time.Since(rec.Start)
	e.cfg.Emit(rec)
}
