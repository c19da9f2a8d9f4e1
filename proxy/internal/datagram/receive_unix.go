//go:build unix

package datagram

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// Receive reads datagrams. It holds no buffer while none comes: a buffer has to be large enough for the longest one, and most
// sessions are quiet most of the time.
func (a *App) Receive(deliver func([]byte)) error {
	sc, ok := a.conn.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%T is not a socket", a.conn)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var r receiver
	read := r.read // made once
	for {
		if err := raw.Read(read); err != nil {
			return err
		}
		if r.err != nil {
			return refused(r.err)
		}
		deliver(r.buf.B[:r.n])
		r.buf.Release()
	}
}

// receiver is one read.
type receiver struct {
	buf *wire.Buffer
	n   int
	err error
}

// read reports false while there is nothing to read.
func (r *receiver) read(fd uintptr) bool {
	r.buf = wire.Get(wire.Large)
	for {
		r.n, r.err = syscall.Read(int(fd), r.buf.B)
		if !errors.Is(r.err, syscall.EINTR) {
			break
		}
	}
	if r.err != nil {
		r.buf.Release()
	}
	return !errors.Is(r.err, syscall.EAGAIN)
}
