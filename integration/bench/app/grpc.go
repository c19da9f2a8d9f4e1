package app

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/integration/bench/h2lite"
	"github.com/weft-mesh/weft/integration/bench/loop"
)

// rpc is a plaintext HTTP/2 connection on which every stream calls the one method, which gives the message back.
type rpc struct {
	conn              *loop.Conn
	peer              h2lite.Peer
	greeted           bool
	headers, trailers *h2lite.Blocks
	messages          map[uint32][]byte // of streams that have not ended, unless empty
	block             []byte
	out               []byte
	buf               [64 << 10]byte
	n                 int
}

func newGRPC(c *loop.Conn) loop.Handler {
	headers, trailers := h2lite.Answer()
	return &rpc{conn: c, headers: headers, trailers: trailers, messages: map[uint32][]byte{}}
}

// Ready answers every stream that has ended, all with one write.
func (r *rpc) Ready(uint32) error {
	err := r.conn.Flush()
	if err == nil {
		err = r.read()
	}
	if err != nil {
		r.conn.Close()
	}
	return nil
}

func (r *rpc) read() error {
	n, err := r.conn.Read(r.buf[r.n:])
	if err != nil {
		return err
	}
	r.n += n
	data := r.buf[:r.n]
	r.out = r.out[:0]
	if !r.greeted {
		if len(data) < len(h2lite.Preface) {
			return nil
		}
		if !bytes.HasPrefix(data, []byte(h2lite.Preface)) {
			return errors.New("not HTTP/2")
		}
		r.greeted = true
		r.out = h2lite.Start(r.out)
		data = data[len(h2lite.Preface):]
	}
	for {
		f, rest, ok := h2lite.Next(data)
		if !ok {
			break
		}
		if err := r.frame(f); err != nil {
			return err
		}
		data = rest
	}
	r.n = copy(r.buf[:], data)
	if len(r.out) == 0 {
		return nil
	}
	return r.conn.Write(r.out)
}

func (r *rpc) frame(f h2lite.Frame) error {
	var done bool
	if r.out, done = r.peer.Manage(r.out, f); done {
		return nil
	}
	switch f.Type {
	case h2lite.Reset:
		delete(r.messages, f.Stream)
	case h2lite.GoAway:
		return errors.New("the proxy goes away")
	case h2lite.Data:
		body := f.Body()
		if old, split := r.messages[f.Stream]; split {
			body = append(old, body...)
		}
		if f.Flags&h2lite.EndStream != 0 {
			delete(r.messages, f.Stream)
			r.answer(f.Stream, body)
		} else {
			r.messages[f.Stream] = bytes.Clone(body)
		}
	case h2lite.Headers:
		if f.Flags&h2lite.EndHeaders == 0 || f.Flags&h2lite.EndStream != 0 {
			return fmt.Errorf("stream %d: headers that the app does not take", f.Stream)
		}
	}
	return nil
}

func (r *rpc) answer(stream uint32, message []byte) {
	r.block = r.headers.Append(r.block[:0], r.peer.Literal)
	r.out = h2lite.Append(r.out, h2lite.Headers, h2lite.EndHeaders, stream, r.block)
	r.out = h2lite.Append(r.out, h2lite.Data, 0, stream, message)
	r.block = r.trailers.Append(r.block[:0], r.peer.Literal)
	r.out = h2lite.Append(r.out, h2lite.Headers, h2lite.EndHeaders|h2lite.EndStream, stream, r.block)
}
