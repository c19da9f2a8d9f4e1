package load

import (
	"bytes"
	"errors"

	"github.com/weft-mesh/weft/integration/bench/app"
	"github.com/weft-mesh/weft/integration/bench/loop"
)

// echo is a connection on which a message goes to and fro.
type echo struct {
	run     *runner
	conn    *loop.Conn
	message []byte
	begun   int64
	buf     [EchoBytes + 1]byte
	n       int
}

func newEcho(r *runner) (*echo, error) {
	e := &echo{run: r, message: app.Body(EchoBytes)}
	e.message[0] = app.Echo
	var err error
	if e.conn, err = r.dial(e); err != nil {
		return nil, err
	}
	e.begun = r.meter.now()
	return e, e.conn.Write(e.message)
}

func (e *echo) close() { e.conn.Close() }

// Ready sends the next message when the last one has come back.
func (e *echo) Ready(uint32) error {
	n, err := e.conn.Read(e.buf[e.n:])
	if err != nil {
		return err
	}
	if e.n += n; e.n < EchoBytes {
		return nil
	}
	if !bytes.Equal(e.buf[:e.n], e.message) {
		return errors.New("a message did not come back as it was sent")
	}
	e.n = 0
	e.run.meter.count(e.begun)
	e.begun = e.run.meter.now()
	return e.conn.Write(e.message)
}

// bulk is a connection from which everything is taken that comes.
type bulk struct {
	run  *runner
	conn *loop.Conn
	want []byte
	at   int // position in it
	buf  []byte
}

func newBulk(r *runner) (*bulk, error) {
	b := &bulk{run: r, want: app.Body(app.Chunk), buf: make([]byte, app.Chunk)}
	var err error
	if b.conn, err = r.dial(b); err != nil {
		return nil, err
	}
	return b, b.conn.Write([]byte{app.Download})
}

func (b *bulk) close() { b.conn.Close() }

// Ready takes what has come.
func (b *bulk) Ready(uint32) error {
	// Never beyond the end of the chunk, so that what is wanted is in one piece.
	n, err := b.conn.Read(b.buf[:len(b.want)-b.at])
	if err != nil {
		return err
	}
	if !bytes.Equal(b.buf[:n], b.want[b.at:b.at+n]) {
		return errors.New("a download is not what the app sends")
	}
	b.at = (b.at + n) % len(b.want)
	if b.run.meter.measuring {
		b.run.meter.done += float64(n) / (1 << 20)
	}
	return nil
}
