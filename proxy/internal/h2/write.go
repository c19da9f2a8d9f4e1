package h2

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/proxy/internal/limit"
)

// highWater is how many bytes may wait in a connection's buffer before bodies have to wait in their streams.
const highWater = 64 << 10

// farewell is how long a peer may take to read our last words.
const farewell = time.Second

// write is the writer: it writes what the readers queue, a batch at a time.
func (c *conn) write() {
	var credits []credit
	for {
		c.mu.Lock()
		credits = c.pump(credits[:0])
		for len(c.out) == 0 && !c.closed && !c.closing {
			c.waiting = true
			c.wake.Wait()
			c.waiting = false
			credits = c.pump(credits)
		}
		buf, last := c.out, c.closing
		closed := c.closed
		c.out, c.spare, c.control = c.spare[:0], nil, 0
		c.started += int64(len(buf))
		c.mu.Unlock()
		give(credits)
		if closed {
			return
		}
		if !c.flush(buf, last) {
			return
		}
	}
}

// flush writes one batch; false ends the writer.
func (c *conn) flush(buf []byte, last bool) bool {
	var err error
	if len(buf) > 0 {
		stall := c.limits.guard.WriteStall
		if last {
			stall = farewell
		}
		if err = c.nc.SetWriteDeadline(time.Now().Add(stall)); err == nil {
			_, err = c.nc.Write(buf)
		}
	}
	if err != nil {
		c.shut(fmt.Errorf("write: %w", err))
		return false
	}
	if cap(buf) <= 4*highWater {
		c.mu.Lock()
		c.spare = buf[:0]
		c.mu.Unlock()
	}
	if last {
		if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // the reader sees whatever became of the connection
		}
		// The peer closes when it has read the GOAWAY; until then, and for a while at most, its last frames are read.
		_ = c.nc.SetReadDeadline(time.Now().Add(farewell))
		return false
	}
	return true
}

// pump moves body bytes from the streams, each in its turn, to the buffer. Under mu.
func (c *conn) pump(credits []credit) []credit {
	for len(c.ready) > 0 && len(c.out) < highWater && !c.closed {
		st := c.ready[0]
		if len(st.pending) > 0 && c.sendWindow <= 0 {
			// The connection's window is used up; only ends may pass, and those are rare enough to wait.
			break
		}
		copy(c.ready, c.ready[1:])
		c.ready[len(c.ready)-1] = nil
		c.ready = c.ready[:len(c.ready)-1]
		st.queued = false
		if st.gone || !st.writable() {
			continue
		}
		paid := c.emit(st)
		if paid > 0 && st.source != nil {
			credits = append(credits, credit{st.source, paid})
		}
		c.queue(st)
	}
	return credits
}

// emit writes the next frame of a writable stream and returns how many bytes are to be credited. Under mu.
func (c *conn) emit(st *stream) (paid int) {
	if len(st.pending) > 0 {
		n := int(min(int64(len(st.pending)), st.window, c.sendWindow, maxFrame))
		chunk := st.pending[:n]
		st.pending = st.pending[n:]
		st.moved += int64(n)
		c.limits.buffers.Add(-n)
		end := len(st.pending) == 0 && st.endPending && st.trailers == nil
		c.dataFrame(st, chunk, end)
		if len(st.pending) == 0 {
			st.pending = nil
		}
		free := min(n, st.unpaid)
		st.unpaid -= free
		if end {
			c.closeLocal(st)
		}
		return n - free
	}
	if st.trailers != nil {
		c.headerFrames(st, st.trailers, true)
		st.trailers = nil
	} else {
		c.dataFrame(st, nil, true)
	}
	c.closeLocal(st)
	return 0
}

// queue lines a stream up if it has something to write and may. Under mu.
func (c *conn) queue(st *stream) {
	if !st.queued && !st.gone && st.writable() {
		st.queued = true
		c.ready = append(c.ready, st)
	}
}

// writeHeaders sends a header list: at once, or, for trailers, after the body that still waits.
func (c *conn) writeHeaders(st *stream, fields []hpack.HeaderField, end bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case st.gone || st.localClosed || st.endPending || c.closed:
	case len(st.pending) > 0:
		st.trailers, st.endPending = slices.Clone(fields), true
		c.queue(st)
	default:
		c.headerFrames(st, fields, end)
		if end {
			c.closeLocal(st)
		}
	}
}

// writeData sends body bytes, or keeps a copy of those that must wait; source is credited as they leave. It returns how many
// bytes of source have left already, which the caller credits.
func (c *conn) writeData(st *stream, data []byte, end bool, source *stream) (paid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.gone || st.localClosed || st.endPending || c.closed {
		return len(data)
	}
	st.source = source
	if len(st.pending) == 0 {
		for len(data) > 0 && st.window > 0 && c.sendWindow > 0 && len(c.out) < highWater {
			n := int(min(int64(len(data)), st.window, c.sendWindow, maxFrame))
			c.dataFrame(st, data[:n], end && n == len(data))
			free := min(n, st.unpaid)
			st.unpaid -= free
			paid += n - free
			data = data[n:]
			if end && len(data) == 0 {
				c.closeLocal(st)
				return paid
			}
		}
		if len(data) == 0 && end {
			c.dataFrame(st, nil, true)
			c.closeLocal(st)
			return paid
		}
	}
	st.pending = append(st.pending, data...)
	c.limits.buffers.Add(len(data))
	st.endPending = end
	c.queue(st)
	return paid
}

// dataFrame puts one DATA frame into the buffer. Under mu.
func (c *conn) dataFrame(st *stream, data []byte, end bool) {
	before := len(c.out)
	c.out = appendData(c.out, st.id, data, end)
	c.appended += int64(len(c.out) - before)
	c.moved += int64(len(c.out) - before)
	st.window -= int64(len(data))
	c.sendWindow -= int64(len(data))
}

// headerFrames encodes a header list into the buffer. Under mu.
func (c *conn) headerFrames(st *stream, fields []hpack.HeaderField, end bool) {
	c.encBuf.Reset()
	for i := range fields {
		_ = c.enc.WriteField(fields[i]) // a bytes.Buffer does not fail
	}
	before := len(c.out)
	c.out = appendBlock(c.out, st.id, c.encBuf.Bytes(), end)
	c.appended += int64(len(c.out) - before)
	c.moved += int64(len(c.out) - before)
}

// put adds frames to the buffer. Under mu.
func (c *conn) put(frames []byte) {
	c.out = append(c.out, frames...)
	c.appended += int64(len(frames))
}

// putControl adds a control frame that the peer made us send: a peer that asks for many and reads none is cut off, by the
// reader. Under mu.
func (c *conn) putControl(frame []byte) error {
	if c.closed || c.closing {
		return nil
	}
	if c.control >= c.limits.guard.ControlFrames {
		return c.over(limit.ControlFrames)
	}
	c.put(frame)
	c.control++
	return nil
}
