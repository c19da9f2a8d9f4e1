package h2

import (
	"errors"

	"golang.org/x/net/http2"

	"github.com/weft-mesh/weft/proxy/internal/limit"
)

// maxEmpties is how many DATA frames in a row may carry neither bytes nor the end.
const maxEmpties = 100

// read handles frames until the connection breaks or breaks the rules.
func (c *conn) read() error {
	for {
		if !c.more() {
			c.settle()
		}
		f, err := c.fr.ReadFrame()
		if err == nil {
			err = c.frame(f)
		}
		if err == nil {
			continue
		}
		se, ok := errors.AsType[http2.StreamError](err)
		if !ok {
			c.settle()
			return err
		}
		if err := c.resetOnce(); err != nil {
			c.settle()
			return err
		}
		c.fault(se)
	}
}

// more says whether a whole frame has been read from the socket already.
func (c *conn) more() bool {
	n := c.br.Buffered()
	if n < frameHeaderLen {
		return false
	}
	h, err := c.br.Peek(3)
	return err == nil && n >= frameHeaderLen+int(h[0])<<16+int(h[1])<<8+int(h[2])
}

func (c *conn) frame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.onData(f)
	case *http2.HeadersFrame:
		if err := c.readBlock(f); err != nil {
			return err
		}
		return c.role.headers(f.StreamID, &c.block)
	case *http2.WindowUpdateFrame:
		if err := c.onWindowUpdate(f); err != nil {
			return err
		}
		return c.beside()
	case *http2.RSTStreamFrame:
		return c.onReset(f)
	case *http2.SettingsFrame:
		if err := c.onSettings(f); err != nil {
			return err
		}
		return c.beside()
	case *http2.PingFrame:
		if err := c.onPing(f); err != nil {
			return err
		}
		return c.beside()
	case *http2.GoAwayFrame:
		c.role.goAway(f.LastStreamID, f.ErrCode)
		return c.beside()
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		return c.beside()
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	default:
		return c.beside()
	}
}

func (c *conn) onData(f *http2.DataFrame) error {
	data, end := f.Data(), f.StreamEnded()
	if len(data) > 0 || end {
		c.empties = 0
	} else if c.empties++; c.empties > maxEmpties {
		return c.over(limit.EmptyFrames)
	}
	st, err := c.receive(f.StreamID, int32(f.Length), len(data), end)
	if err != nil || st == nil {
		return err
	}
	if st.declared >= 0 {
		st.declared -= int64(len(data))
		if st.declared < 0 || end && st.declared > 0 {
			return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeProtocol}
		}
	}
	st.x.data(st, data, end)
	if end {
		c.finished(st)
	}
	return nil
}

// receive accounts for a DATA frame and finds its stream; nil when the frame is to be ignored.
func (c *conn) receive(id uint32, length int32, data int, end bool) (*stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recvWindow -= length
	if c.recvWindow < 0 {
		return nil, http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.recvOwed += length
	defer c.creditConn()
	st := c.streams[id]
	switch {
	case st == nil && c.idle(id):
		return nil, http2.ConnectionError(http2.ErrCodeProtocol)
	case st == nil && c.client && c.ended.has(id):
		return nil, http2.ConnectionError(http2.ErrCodeStreamClosed)
	case st == nil && (c.client || c.wasReset(id)):
		return nil, nil
	case st == nil, st.remoteClosed:
		return nil, http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
	case st.recv < length:
		return nil, http2.StreamError{StreamID: id, Code: http2.ErrCodeFlowControl}
	case c.client && !st.answered:
		return nil, http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	}
	st.recv -= length
	st.owed += length - int32(data) // padding is drained at once
	st.held += data
	c.held += data
	c.moved += int64(data)
	st.remoteClosed = end
	return st, nil
}

// finished ends a stream that is over in both directions.
func (c *conn) finished(st *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.localClosed && st.remoteClosed {
		c.ended.note(st.id)
		c.remove(st)
	}
}

// closeRemote notes END_STREAM on a header block.
func (c *conn) closeRemote(st *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st.remoteClosed = true
}

// find looks a stream up for a header block.
func (c *conn) find(id uint32) (st *stream, remoteClosed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st = c.streams[id]
	return st, st != nil && st.remoteClosed
}

func (c *conn) onReset(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	st, idle := c.streams[f.StreamID], c.idle(f.StreamID)
	if st != nil {
		c.ended.note(f.StreamID)
	}
	c.mu.Unlock()
	if idle {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if st == nil {
		return c.beside()
	}
	if !c.client {
		if err := c.resetOnce(); err != nil {
			return err
		}
	}
	c.drop(st)
	if st.x != nil {
		st.x.reset(st, f.ErrCode)
	}
	return nil
}

// fault answers an error that concerns one stream only.
func (c *conn) fault(se http2.StreamError) {
	c.mu.Lock()
	st := c.streams[se.StreamID]
	if st == nil {
		_ = c.putControl(appendReset(nil, se.StreamID, se.Code))
		c.noteReset(se.StreamID)
	}
	c.mu.Unlock()
	if st == nil {
		return
	}
	c.abort(st, se.Code)
	if st.x != nil {
		st.x.broken(st, se)
	}
}

func (c *conn) onPing(f *http2.PingFrame) error {
	if f.IsAck() {
		if f.Data == drainPing && !c.client {
			c.finalise()
		}
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.putControl(appendPing(nil, true, f.Data))
}

// idle says whether nobody has opened the stream yet. Under mu.
func (c *conn) idle(id uint32) bool { return id > c.lastID || id%2 == 0 }
