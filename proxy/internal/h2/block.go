package h2

import (
	"errors"
	"os"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/proxy/internal/limit"
)

// bomb times the limit is what a list may claim to be before it is no list but an attack on the decoder.
const bomb = 16

// block is a decoded header block. fields are valid until the next block.
type block struct {
	fields   []hpack.HeaderField
	end      bool       // END_STREAM
	over     limit.Name // which limit, if tooLarge
	tooLarge bool       // fields is not complete
	limit    uint32
	most     int // fields
	size     uint32
}

func (b *block) add(f hpack.HeaderField) {
	b.size += f.Size()
	switch {
	case b.size > b.limit:
		b.tooLarge, b.over = true, limit.HeadBytes
		return
	case len(b.fields) >= b.most:
		b.tooLarge, b.over = true, limit.HeadFields
		return
	}
	b.fields = append(b.fields, f)
}

// readContinuation reads a frame for which the peer has limited time. count is how many came before it.
func (c *conn) readContinuation(count int) (http2.Frame, error) {
	if count == 0 {
		_ = c.nc.SetReadDeadline(time.Now().Add(c.limits.guard.HeadTime)) // the read tells
	}
	f, err := c.fr.ReadFrame()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, c.over(limit.HeadTime)
	}
	return f, err
}

// readBlock decodes the block that hf begins. What is too large is still decoded, up to twice the limit as sent,
// because the peer's compression state goes on; beyond that, and for endless CONTINUATION frames, the connection is given up.
func (c *conn) readBlock(hf *http2.HeadersFrame) error {
	b := &c.block
	clear(b.fields)
	b.fields, b.size, b.tooLarge, b.end = b.fields[:0], 0, false, hf.StreamEnded()
	if hf.HasPriority() && hf.Priority.StreamDep == hf.StreamID {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	fragment, ended := hf.HeaderBlockFragment(), hf.HeadersEnded()
	split := !ended
	total := 0
	for count := 0; ; count++ {
		total += len(fragment)
		switch {
		case count > c.limits.guard.Continuations:
			return c.over(limit.Continuations)
		case total > 2*int(b.limit):
			return c.over(limit.HeadBytes)
		}
		if _, err := c.dec.Write(fragment); err != nil {
			return http2.ConnectionError(http2.ErrCodeCompression)
		}
		if b.size > bomb*b.limit {
			return c.over(limit.HeadBytes)
		}
		if ended {
			break
		}
		f, err := c.readContinuation(count)
		if err != nil {
			return err
		}
		cf, ok := f.(*http2.ContinuationFrame)
		if !ok {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		fragment, ended = cf.HeaderBlockFragment(), cf.HeadersEnded()
	}
	if split {
		_ = c.nc.SetReadDeadline(time.Time{}) // the next read tells
	}
	if c.dec.Close() != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	return nil
}
