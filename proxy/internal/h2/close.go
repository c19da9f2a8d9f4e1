package h2

import (
	"slices"
	"time"

	"golang.org/x/net/http2"
)

// drainPing tells, by its answer, that the client has read the first GOAWAY.
var drainPing = [8]byte{'w', 'e', 'f', 't', 'd', 'r', 'n', 1}

// closeLocal notes that END_STREAM has been written. A server that has answered needs nothing more from the client: if the
// request is not complete, NO_ERROR tells the client to stop. Under mu.
func (c *conn) closeLocal(st *stream) {
	st.localClosed, st.endPending = true, false
	c.answered++
	switch {
	case st.remoteClosed:
		c.remove(st)
	case !c.client:
		c.put(appendReset(nil, st.id, http2.ErrCodeNo))
		c.noteReset(st.id)
		c.remove(st)
	}
}

// abort resets a stream, whatever its state; what waits to be written is dropped.
func (c *conn) abort(st *stream, code http2.ErrCode) {
	c.mu.Lock()
	if st.gone {
		c.mu.Unlock()
		return
	}
	if !(st.localClosed && st.remoteClosed) && !c.closed {
		c.put(appendReset(nil, st.id, code))
		c.noteReset(st.id)
		c.wear()
	}
	owed := c.forget(st)
	c.mu.Unlock()
	give([]credit{owed})
}

// wear counts a reset of ours, and lets a connection to an endpoint take no new streams once there were many: before the other end
// takes us for an attacker, and ends the streams of all who share it. Under mu.
func (c *conn) wear() {
	if !c.client {
		return
	}
	if c.cancelled++; c.cancelled >= 5*c.limits.guard.Resets {
		c.away = true
	}
}

// cancelUnsent ends a stream whose response is complete while the request still is not.
func (c *conn) cancelUnsent(st *stream) {
	c.mu.Lock()
	open := !st.gone && !st.localClosed
	c.mu.Unlock()
	if open {
		c.abort(st, http2.ErrCodeCancel)
	}
}

// drop forgets a stream that the peer has ended.
func (c *conn) drop(st *stream) {
	c.mu.Lock()
	var owed credit
	if !st.gone {
		owed = c.forget(st)
	}
	c.mu.Unlock()
	give([]credit{owed})
}

// forget removes a stream with what waits in it, and returns the credit for that. Under mu.
func (c *conn) forget(st *stream) credit {
	c.limits.buffers.Add(-len(st.pending))
	owed := credit{st.source, len(st.pending) - min(len(st.pending), st.unpaid)}
	st.pending, st.endPending, st.trailers, st.source = nil, false, nil, nil
	c.remove(st)
	return owed
}

// remove takes a stream out of the connection. Under mu.
func (c *conn) remove(st *stream) {
	if st.gone {
		return
	}
	st.gone = true
	c.held -= st.held
	c.creditConn()
	delete(c.streams, st.id)
	if len(c.streams) > 0 {
		return
	}
	if c.client {
		c.idleSince = time.Now()
	}
	c.closeIfDone()
}

// closeIfDone closes a connection that has nothing left to do. Under mu.
func (c *conn) closeIfDone() {
	if len(c.streams) > 0 || c.closed || c.reserved > 0 {
		return
	}
	if c.draining == 2 || c.client && c.away {
		c.closing = true
		c.wake.Signal()
	}
}

// noteReset remembers that we reset a stream: frames of it may be under way. Under mu.
func (c *conn) noteReset(id uint32) {
	c.resets.note(id)
}

func (c *conn) wasReset(id uint32) bool { return c.resets.has(id) }

// recent remembers the last streams of some kind.
type recent struct {
	ids  [32]uint32
	next int
}

func (r *recent) note(id uint32) {
	r.ids[r.next] = id
	r.next = (r.next + 1) % len(r.ids)
}

func (r *recent) has(id uint32) bool { return slices.Contains(r.ids[:], id) }

// drain begins a graceful end: the client is told to open no more streams, may still open those that are under way, and
// then is told the last one that counts.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining > 0 || c.closed || c.closing {
		return
	}
	c.draining = 1
	c.put(appendPing(appendGoAway(nil, maxWindow, http2.ErrCodeNo, ""), false, drainPing))
	c.wake.Signal()
}

// finalise ends the grace: later streams are ignored, and the connection closes after the last one.
func (c *conn) finalise() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining != 1 || c.closed {
		return
	}
	c.draining = 2
	c.put(appendGoAway(nil, c.lastID, http2.ErrCodeNo, ""))
	c.wake.Signal()
	c.closeIfDone()
}

// retire makes an upstream connection take no new streams and close after its last one.
func (c *conn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = true
	c.closeIfDone()
}
