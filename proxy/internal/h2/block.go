package h2

import (
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// maxContinuations of one header block: nobody needs more for what fits the header limit.
const maxContinuations = 64

// block is a decoded header block. fields are valid until the next block.
type block struct {
	fields   []hpack.HeaderField
	end      bool // END_STREAM
	tooLarge bool // fields is not complete
	limit    uint32
	size     uint32
}

func (b *block) add(f hpack.HeaderField) {
	b.size += f.Size()
	if b.size > b.limit {
		b.tooLarge = true
		return
	}
	b.fields = append(b.fields, f)
}

// readBlock decodes the block that hf begins. What is too large is still decoded, up to twice the limit, because the peer's
// compression state goes on; beyond that, and for endless CONTINUATION frames, the connection is given up.
func (c *conn) readBlock(hf *http2.HeadersFrame) error {
	b := &c.block
	clear(b.fields)
	b.fields, b.size, b.tooLarge, b.end = b.fields[:0], 0, false, hf.StreamEnded()
	if hf.HasPriority() && hf.Priority.StreamDep == hf.StreamID {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	fragment, ended := hf.HeaderBlockFragment(), hf.HeadersEnded()
	total := 0
	for count := 0; ; count++ {
		total += len(fragment)
		if count > maxContinuations || total > 2*int(b.limit) {
			return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
		}
		if _, err := c.dec.Write(fragment); err != nil {
			return http2.ConnectionError(http2.ErrCodeCompression)
		}
		if ended {
			break
		}
		f, err := c.fr.ReadFrame()
		if err != nil {
			return err
		}
		cf, ok := f.(*http2.ContinuationFrame)
		if !ok {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		fragment, ended = cf.HeaderBlockFragment(), cf.HeadersEnded()
	}
	if c.dec.Close() != nil {
		return http2.ConnectionError(http2.ErrCodeCompression)
	}
	return nil
}
