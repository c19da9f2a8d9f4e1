package h2

import (
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/proxy/internal/limit"
)

// maxInformed is how many 1xx responses one request may get.
const maxInformed = 10

// serverRole handles what clients send.
type serverRole struct {
	server *Server
	conn   *conn
	at     *Downstream
}

func (r *serverRole) headers(id uint32, b *block) error {
	c := r.conn
	if id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if st, closed := c.find(id); st != nil {
		if closed {
			return http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
		}
		if b.tooLarge {
			return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol, Cause: c.limits.guard.Refuse(b.over)}
		}
		if !b.end || validateTrailers(b.fields) != nil || st.declared > 0 {
			return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
		}
		c.closeRemote(st)
		st.x.requestTrailers(b.fields)
		c.finished(st)
		return nil
	}
	// The exchange is locked before others can find it, so that nobody sees it half made.
	x := r.server.newExchange(r.at, b.end)
	x.mu.Lock()
	defer x.mu.Unlock()
	if ok, err := c.admit(id, b.end, x); !ok {
		return err
	}
	return x.accept(b)
}

// goAway of a client changes nothing: it closes when it has its answers.
func (r *serverRole) goAway(uint32, http2.ErrCode) {}

// admit registers the stream that the client opens for x; not ok without an error means that it is to be ignored.
func (c *conn) admit(id uint32, end bool, x *exchange) (ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id <= c.lastID {
		if c.wasReset(id) {
			return false, nil
		}
		return false, http2.ConnectionError(http2.ErrCodeStreamClosed)
	}
	c.lastID = id
	if c.draining == 2 || c.closing || c.closed {
		return false, nil
	}
	if len(c.streams) >= c.limits.guard.Streams {
		c.limits.guard.Count(limit.Streams)
		return false, http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	x.down = &stream{conn: c, id: id, x: x, window: c.initial, recv: c.limits.StreamWindow, remoteClosed: end, declared: -1}
	c.streams[id] = x.down
	return true, nil
}

// clientRole handles what endpoints send.
type clientRole struct {
	conn *conn
}

func (r clientRole) headers(id uint32, b *block) error {
	c := r.conn
	st, closed := c.find(id)
	if st == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.idle(id) {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		if c.ended.has(id) {
			return http2.ConnectionError(http2.ErrCodeStreamClosed)
		}
		return nil
	}
	if closed {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
	}
	status, err := r.check(st, b)
	if err != nil {
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol, Cause: err}
	}
	if b.end {
		c.closeRemote(st)
	}
	st.x.response(st, b.fields, status, b.end)
	if b.end {
		c.finished(st)
	}
	return nil
}

// check says what a header list is: informational, final, or (status 0) trailers.
func (r clientRole) check(st *stream, b *block) (status int, err error) {
	if b.tooLarge {
		return 0, r.conn.limits.guard.Refuse(b.over)
	}
	if st.answered {
		if !b.end || st.declared > 0 || validateTrailers(b.fields) != nil {
			return 0, errMalformed
		}
		return 0, nil
	}
	h, err := validateResponse(b.fields)
	if err != nil {
		return 0, err
	}
	if h.status < 200 {
		st.informed++
		if b.end || h.status == 101 {
			return 0, errMalformed
		}
		if st.informed > maxInformed {
			return 0, r.conn.limits.guard.Refuse(limit.Informational)
		}
		return h.status, nil
	}
	st.answered = true
	if !bodiless(st.x.req.method, h.status) {
		st.declared = h.length
		if b.end && h.length > 0 {
			return 0, errMalformed
		}
	}
	return h.status, nil
}

// goAway takes the connection out of use; streams that the endpoint has not looked at may be sent elsewhere.
func (r clientRole) goAway(last uint32, code http2.ErrCode) {
	c := r.conn
	c.mu.Lock()
	c.away = true
	var unprocessed []*stream
	for id, st := range c.streams {
		if id > last {
			unprocessed = append(unprocessed, st)
		}
	}
	c.mu.Unlock()
	for _, st := range unprocessed {
		c.drop(st)
		st.x.lost(st, http2.StreamError{StreamID: st.id, Code: code}, true)
	}
	c.mu.Lock()
	c.closeIfDone()
	c.mu.Unlock()
}

// reserve takes a place for one stream on an upstream connection.
func (c *conn) reserve(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away || c.closed || c.closing || len(c.streams)+c.reserved >= c.maxActive || c.lastID > maxWindow-1000 {
		return false
	}
	if now.Sub(c.born) > c.limits.ConnAge {
		c.away = true
		c.closeIfDone()
		return false
	}
	c.reserved++
	return true
}

// release gives a reserved place back.
func (c *conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reserved--
	c.closeIfDone()
}

// open starts a stream in a reserved place and writes the request's head; ok is false when the connection is over.
func (c *conn) open(x *exchange, fields []hpack.HeaderField, end bool, unpaid int) (st *stream, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reserved--
	if c.away || c.closed || c.closing {
		c.closeIfDone()
		return nil, false
	}
	if c.lastID == 0 {
		c.lastID = 1
	} else {
		c.lastID += 2
	}
	st = &stream{conn: c, id: c.lastID, x: x, window: c.initial, recv: c.limits.StreamWindow, unpaid: unpaid, mark: c.appended, declared: -1}
	c.streams[st.id] = st
	c.headerFrames(st, fields, end)
	if end {
		c.closeLocal(st)
	}
	return st, true
}
