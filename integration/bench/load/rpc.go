package load

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/integration/bench/app"
	"github.com/weft-mesh/weft/integration/bench/h2lite"
	"github.com/weft-mesh/weft/integration/bench/loop"
)

// messageBytes is the size of a call's message, which comes back.
const messageBytes = 100

// rpc is a connection of HTTP/2 with some unary calls at a time. All that can be written is written at once.
type rpc struct {
	run     *runner
	conn    *loop.Conn
	peer    h2lite.Peer
	headers *h2lite.Blocks
	decoder *hpack.Decoder
	message []byte
	next    uint32
	calls   map[uint32]*call
	spare   []*call
	current *call // whose headers are decoded
	block   []byte
	out     []byte
	buf     []byte
	n       int
}

// call is one that has not been answered.
type call struct {
	begun       int64
	got         []byte
	status, end bool // :status 200, grpc-status 0
}

func newRPC(r *runner) (*rpc, error) {
	c := &rpc{run: r, headers: h2lite.Request(), calls: map[uint32]*call{}, next: 1, buf: make([]byte, 64<<10)}
	c.message = h2lite.Message(nil, app.Body(messageBytes))
	c.decoder = hpack.NewDecoder(4096, c.field)
	var err error
	if c.conn, err = r.dial(c); err != nil {
		return nil, err
	}
	return c, c.conn.Write(h2lite.Start([]byte(h2lite.Preface)))
}

func (c *rpc) close() { c.conn.Close() }

func (c *rpc) field(f hpack.HeaderField) {
	switch {
	case c.current == nil:
	case f.Name == ":status":
		c.current.status = f.Value == "200"
	case f.Name == "grpc-status":
		c.current.end = f.Value == "0"
	}
}

// Ready takes the answers that came and makes as many new calls.
func (c *rpc) Ready(uint32) error {
	if err := c.conn.Flush(); err != nil {
		return err
	}
	n, err := c.conn.Read(c.buf[c.n:])
	if err != nil {
		return err
	}
	c.n += n
	c.out = c.out[:0]
	data := c.buf[:c.n]
	for {
		f, rest, ok := h2lite.Next(data)
		if !ok {
			break
		}
		if err := c.frame(f); err != nil {
			return err
		}
		data = rest
	}
	c.n = copy(c.buf, data)
	for c.peer.Ready && len(c.calls) < c.run.spec.Streams {
		c.call()
	}
	if len(c.out) == 0 {
		return nil
	}
	return c.conn.Write(c.out)
}

func (c *rpc) call() {
	k := &call{}
	if n := len(c.spare); n > 0 {
		k, c.spare = c.spare[n-1], c.spare[:n-1]
		*k = call{got: k.got[:0]}
	}
	k.begun = c.run.meter.now()
	c.calls[c.next] = k
	c.block = c.headers.Append(c.block[:0], c.peer.Literal)
	c.out = h2lite.Append(c.out, h2lite.Headers, h2lite.EndHeaders, c.next, c.block)
	c.out = h2lite.Append(c.out, h2lite.Data, h2lite.EndStream, c.next, c.message)
	c.next += 2
}

func (c *rpc) frame(f h2lite.Frame) error {
	var done bool
	if c.out, done = c.peer.Manage(c.out, f); done {
		return nil
	}
	k := c.calls[f.Stream]
	switch f.Type {
	case h2lite.Reset, h2lite.GoAway, h2lite.Continuation:
		return fmt.Errorf("stream %d: frame of type %d: %x", f.Stream, f.Type, f.Payload)
	case h2lite.Headers:
		c.current = k
		if _, err := c.decoder.Write(f.Body()); err != nil {
			return fmt.Errorf("stream %d: headers: %w", f.Stream, err)
		}
		if err := c.decoder.Close(); err != nil {
			return fmt.Errorf("stream %d: headers: %w", f.Stream, err)
		}
	case h2lite.Data:
		if k != nil {
			k.got = append(k.got, f.Body()...)
		}
	}
	if f.Flags&h2lite.EndStream == 0 {
		return nil
	}
	if k == nil || !k.status || !k.end || !bytes.Equal(k.got, c.message) {
		return errors.New("a call was not answered as the app does")
	}
	c.run.meter.count(k.begun)
	delete(c.calls, f.Stream)
	c.spare = append(c.spare, k)
	return nil
}
