package h2

import (
	"slices"
	"time"

	"golang.org/x/net/http2"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/limit"
)

// look is how often streams that do not move are looked for.
const look = time.Second

// mayKeep says whether n more bytes of the request may be kept for another try. Under x.mu.
func (x *exchange) mayKeep(n int) bool {
	if len(x.kept)+n > x.server.limits.ReplayBytes || x.server.limits.buffers.Full() {
		return false
	}
	if int(x.down.conn.kept.Load())+n > x.server.limits.guard.ConnBytes {
		x.server.limits.guard.Count(limit.ConnBytes)
		return false
	}
	return true
}

// hold keeps bytes of the request. Under x.mu.
func (x *exchange) hold(data []byte) {
	x.kept = append(x.kept, data...)
	x.down.conn.kept.Add(int64(len(data)))
	x.server.limits.buffers.Add(len(data))
}

// letGo keeps nothing of the request from now on. Under x.mu.
func (x *exchange) letGo() {
	x.down.conn.kept.Add(-int64(len(x.kept)))
	x.server.limits.buffers.Add(-len(x.kept))
	x.kept, x.keep = nil, false
}

// stalled is a stream whose client does not take what waits for it.
type stalled struct {
	x       *exchange
	pending int
	late    bool // for longer than allowed
}

// relieve resets the streams whose clients take nothing of a response for too long; when there is no room for more, also those
// that have taken nothing for a moment, those that hold the most first.
func (s *Server) relieve() {
	var list []stalled
	s.mu.Lock()
	for c := range s.conns {
		list = c.stalled(list)
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(a, b stalled) int { return b.pending - a.pending })
	for _, st := range list {
		switch {
		case st.late:
			st.x.exceed(flow.TooSlow, limit.WriteStall)
		case s.limits.buffers.Full():
			st.x.exceed(flow.Overload, limit.BufferBytes)
		}
	}
}

// stalled adds the connection's streams that wait for their windows and have not moved since the last look.
func (c *conn) stalled(list []stalled) []stalled {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, st := range c.streams {
		if len(st.pending) == 0 || st.moved != st.movedThen || st.window > 0 && c.sendWindow > 0 {
			st.stuck, st.movedThen = 0, st.moved
			continue
		}
		patience, limit := 1, c.limits.guard.WriteStall
		if st.x.at.MTLS {
			// Another sidecar waits for a client of its own, and is to judge first.
			patience, limit = 3, 2*limit
		}
		if st.stuck++; st.stuck > patience {
			list = append(list, stalled{st.x, len(st.pending), time.Duration(st.stuck)*look > limit})
		}
	}
	return list
}

// exceed ends an exchange whose client is over a limit.
func (x *exchange) exceed(reason flow.Reason, name limit.Name) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.done {
		return
	}
	x.abortUp(http2.ErrCodeCancel)
	x.down.conn.abort(x.down, http2.ErrCodeEnhanceYourCalm)
	x.finish(reason, x.server.limits.guard.Refuse(name))
	x.down.conn.kick()
}
