package forward

import (
	"errors"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/h1"
)

var errSwitch = errors.New("it switches to a protocol that the request did not ask for")

// switched relays a server's agreement to speak another protocol, and then bytes until both sides have ended. The connection
// was made for this request and ends with it. What access allowed is judged again as long as it lasts: see Recheck.
func (x *exchange) switched(target Target) bool {
	x.last = true
	if !x.resp.SwitchedTo(x.req.Upgrade) {
		x.refuse(x.wrap(flow.UpstreamProtocol, x.rec.Endpoint, errSwitch))
		return false
	}
	x.rec.Status = x.resp.Status
	head := h1.AppendResponse(nil, &x.resp, h1.ResponseEdit{Mesh: target.Mesh})
	x.up.Discard(x.headLen)
	x.live.attend()
	if _, err := x.client.Write(head); err != nil {
		x.rec.Reason, x.rec.Err = flow.ClientGone, err
		return false
	}
	// The request has its response: the time that the route allows for it is over, and its bytes are not needed for another try.
	x.up.SetDeadline(time.Time{})
	x.outBuf.Release()
	x.outBuf, x.out = nil, nil
	x.rec.Switched = max(time.Since(x.rec.Start), 1)
	r := relay{client: x.client, up: x.up, live: &x.live, idle: x.engine.cfg.StreamIdle}
	if x.engine.cfg.Open != nil {
		r.progress = x.engine.cfg.Open(&x.rec)
		x.rec.Opened = true
	}
	r.run()
	x.rec.BytesSent, x.rec.BytesReceived = r.sent, r.received
	x.rec.Reason, x.rec.Err = r.outcome()
	return false
}
