package app

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/integration/bench/loop"
)

// Paths and what they answer with.
const (
	Small      = "/1k"
	SmallBytes = 1 << 10
	Large      = "/64k"
	LargeBytes = 64 << 10
)

// web answers HTTP/1.1 requests without a body.
type web struct {
	conn         *loop.Conn
	small, large []byte
	buf          [8 << 10]byte
	n            int
}

func newHTTP(c *loop.Conn) loop.Handler {
	return &web{conn: c, small: response(SmallBytes), large: response(LargeBytes)}
}

func response(n int) []byte {
	return append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", n), Body(n)...)
}

// Ready answers what has come. A connection that fails is the client's to notice.
func (w *web) Ready(events uint32) error {
	if events&unix.EPOLLOUT != 0 {
		if w.conn.Flush() != nil {
			w.conn.Close()
			return nil
		}
	}
	n, err := w.conn.Read(w.buf[w.n:])
	w.n += n
	if err == nil {
		err = w.answer()
	}
	if err != nil {
		w.conn.Close()
	}
	return nil
}

func (w *web) answer() error {
	data := w.buf[:w.n]
	for {
		end := bytes.Index(data, []byte("\r\n\r\n"))
		if end < 0 {
			break
		}
		answer := w.small
		if bytes.HasPrefix(data, []byte("GET "+Large+" ")) {
			answer = w.large
		}
		if err := w.conn.Write(answer); err != nil {
			return err
		}
		data = data[end+4:]
	}
	w.n = copy(w.buf[:], data)
	if w.n == len(w.buf) {
		return fmt.Errorf("a request is larger than %d bytes", w.n)
	}
	return nil
}
