package h2

import (
	"golang.org/x/net/http2"

	"github.com/weft-mesh/weft/proxy/internal/limit"
)

func (c *conn) onWindowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		c.sendWindow += int64(f.Increment)
		if c.sendWindow > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		return nil
	}
	if c.idle(f.StreamID) {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	st := c.streams[f.StreamID]
	if st == nil {
		return nil
	}
	st.window += int64(f.Increment)
	if st.window > maxWindow {
		return http2.StreamError{StreamID: st.id, Code: http2.ErrCodeFlowControl}
	}
	c.queue(st)
	return nil
}

func (c *conn) onSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		return c.apply(s)
	})
	if err != nil {
		return err
	}
	return c.putControl(appendSettingsAck(nil))
}

// apply takes one of the peer's settings over. Under mu.
func (c *conn) apply(s http2.Setting) error {
	switch s.ID {
	case http2.SettingInitialWindowSize:
		change := int64(s.Val) - c.initial
		c.initial = int64(s.Val)
		for _, st := range c.streams {
			st.window += change
			if st.window > maxWindow {
				return http2.ConnectionError(http2.ErrCodeFlowControl)
			}
			c.queue(st)
		}
	case http2.SettingHeaderTableSize:
		// A larger table than the default costs more memory than it saves bytes.
		c.enc.SetMaxDynamicTableSize(min(s.Val, 4096))
	case http2.SettingMaxConcurrentStreams:
		c.maxActive = int(min(s.Val, uint32(c.limits.MaxUpstreamStreams)))
	case http2.SettingEnablePush:
		if c.client && s.Val != 0 {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
	}
	return nil
}

// credit notes that n bytes of st have left for the other side, and announces it in batches of half a window.
func (c *conn) credit(st *stream, n int) {
	if n == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.gone {
		return
	}
	st.held -= n
	c.held -= n
	st.owed += int32(n)
	if st.owed >= c.limits.StreamWindow/2 && !st.remoteClosed && !c.closed {
		c.put(appendWindowUpdate(nil, st.id, st.owed))
		st.recv += st.owed
		st.owed = 0
		c.wake.Signal()
	}
	c.creditConn()
}

// mayHold is how many bytes may wait for slow receivers before the whole connection waits. A client's connection is its own
// affair. One to an endpoint is shared by many clients, so that all its streams may be slow ones.
func (c *conn) mayHold() int {
	if c.client {
		return c.limits.MaxUpstreamStreams * int(c.limits.StreamWindow)
	}
	return c.limits.guard.ConnBytes
}

// creditConn gives the connection's window back as bytes come in: one slow stream must not stop the others. Only when too
// much is held for slow streams the whole connection waits. Under mu.
func (c *conn) creditConn() {
	if c.closed || c.recvOwed < c.limits.ConnWindow/2 {
		return
	}
	if c.held > c.mayHold() {
		if !c.withheld {
			c.withheld = true
			c.limits.guard.Count(limit.ConnBytes)
		}
		return
	}
	c.withheld = false
	if c.held > 0 && c.limits.buffers.Full() { // what is held leaves some day: then this is looked at again
		return
	}
	c.put(appendWindowUpdate(nil, 0, c.recvOwed))
	c.recvWindow += c.recvOwed
	c.recvOwed = 0
	c.wake.Signal()
}
