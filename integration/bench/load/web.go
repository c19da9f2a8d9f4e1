package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/integration/bench/app"
	"github.com/weft-mesh/weft/integration/bench/loop"
)

// web is a client of HTTP/1.1 with one request at a time.
type web struct {
	run     *runner
	conn    *loop.Conn
	once    bool // a connection for each request
	request []byte
	want    []byte // the body
	begun   int64
	idle    func() // called when a request has been answered; nil: the next one follows at once
	buf     []byte
	n       int
	got     int // bytes of the body that were right
	body    int // its length; -1: the head has not been read
}

func newWeb(r *runner, once bool) (*web, error) {
	w, err := openWeb(r, once)
	if err != nil {
		return nil, err
	}
	if r.spec.Kind == Idle {
		w.idle = func() { r.meter.count(w.begun) }
	}
	return w, w.send(r.meter.now())
}

func openWeb(r *runner, once bool) (*web, error) {
	size, extra := app.SmallBytes, ""
	if r.spec.Path == app.Large {
		size = app.LargeBytes
	}
	if once {
		extra = "Connection: close\r\n"
	}
	w := &web{run: r, once: once, body: -1, want: app.Body(size), buf: make([]byte, 64<<10)}
	w.request = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: web\r\nUser-Agent: weft-bench/1\r\nAccept: */*\r\n%s\r\n", r.spec.Path, extra)
	var err error
	w.conn, err = r.dial(w)
	return w, err
}

func (w *web) close() { w.conn.Close() }

func (w *web) send(begun int64) error {
	w.begun = begun
	return w.conn.Write(w.request)
}

// Ready reads the answer, and goes on when it is complete.
func (w *web) Ready(events uint32) error {
	if events&unix.EPOLLOUT != 0 {
		if err := w.conn.Flush(); err != nil {
			return err
		}
	}
	n, err := w.conn.Read(w.buf[w.n:])
	if err != nil || n == 0 {
		return err
	}
	w.n += n
	if w.body < 0 {
		end := bytes.Index(w.buf[:w.n], []byte("\r\n\r\n"))
		if end < 0 {
			return nil
		}
		if w.body, err = length(w.buf[:end+2]); err != nil {
			return err
		}
		w.n = copy(w.buf, w.buf[end+4:w.n])
	}
	if w.got+w.n > len(w.want) || !bytes.Equal(w.buf[:w.n], w.want[w.got:w.got+w.n]) {
		return errors.New("the body is not the app's")
	}
	w.got, w.n = w.got+w.n, 0
	if w.got < w.body {
		return nil
	}
	if w.body != len(w.want) {
		return fmt.Errorf("the body has %d bytes, want %d", w.body, len(w.want))
	}
	return w.next()
}

func (w *web) next() error {
	w.got, w.body = 0, -1
	if w.idle != nil {
		w.idle()
		return nil
	}
	w.run.meter.count(w.begun)
	begun := w.run.meter.now()
	if w.once {
		w.conn.Close()
		var err error
		if w.conn, err = w.run.dial(w); err != nil {
			return err
		}
	}
	return w.send(begun)
}

// length reads the head of an answer that has to be a success with a length.
func length(head []byte) (int, error) {
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		return 0, fmt.Errorf("answered: %s", head)
	}
	const name = "content-length:"
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if len(line) > len(name) && line[0]|0x20 == 'c' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			return strconv.Atoi(string(bytes.TrimSpace(line[len(name):])))
		}
	}
	return 0, fmt.Errorf("no length: %s", head)
}
