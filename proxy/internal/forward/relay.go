package forward

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// relay moves bytes both ways until both sides have ended, one goroutine for each direction. The end of one direction is
// passed on as such; an error ends both.
type relay struct {
	client, up *wire.Conn
	live       *live
	idle       time.Duration
	progress   flow.Progress // nil: nobody wants to know before the end

	sent, received   int64
	upErr, clientErr error // of reading from or writing to that side
}

func (r *relay) run() {
	back := make(chan struct{})
	go func() {
		defer close(back)
		r.received = r.copy(r.client, r.up, &r.clientErr, &r.upErr)
	}()
	// Each direction has an error of its own for each side, so that nobody shares.
	var upErr, clientErr error
	r.sent = r.copy(r.up, r.client, &upErr, &clientErr)
	<-back
	r.upErr, r.clientErr = errors.Join(r.upErr, upErr), errors.Join(r.clientErr, clientErr)
}

// copy moves bytes from src to dst until src ends.
func (r *relay) copy(dst, src *wire.Conn, dstErr, srcErr *error) (n int64) {
	src.Expect(wire.Small)
	for {
		bulk := false
		if data := src.Buffered(); len(data) > 0 {
			written, err := dst.Write(data)
			n += r.moved(dst, written)
			if err != nil {
				*dstErr = err
				r.cut()
				return n
			}
			bulk = len(data) >= wire.Large
			src.Expect(size(len(data)))
			src.Discard(len(data))
		}
		failed, err := error(nil), wire.ErrNoPipe
		if bulk && wire.CanSplice(dst, src) {
			var spliced int64
			spliced, failed, err = r.splice(dst, src)
			n += spliced
		}
		if errors.Is(err, wire.ErrNoPipe) {
			err = src.Fill()
			for err == nil && src.More() {
			}
		}
		switch {
		case failed != nil:
			*dstErr = failed
			r.cut()
			return n
		case err == nil:
		case ended(err):
			if err := dst.CloseWrite(); err != nil {
				*dstErr = err
			}
			return n
		default:
			*srcErr = err
			r.cut()
			return n
		}
	}
}

// splice moves bytes within the kernel as long as they come in large pieces.
func (r *relay) splice(dst, src *wire.Conn) (n int64, dstErr, srcErr error) {
	for {
		moved, dstErr, srcErr := wire.Splice(dst, src)
		n += r.moved(dst, moved)
		if dstErr != nil || srcErr != nil || moved < wire.Medium {
			return n, dstErr, srcErr
		}
	}
}

// moved notes that bytes went to dst: the relay is not idle.
func (r *relay) moved(dst *wire.Conn, n int) int64 {
	r.client.Arm(r.idle)
	r.up.Arm(r.idle)
	r.count(dst, int64(n))
	return int64(n)
}

// count tells how many bytes went to dst.
func (r *relay) count(dst *wire.Conn, n int64) {
	counter, sent, received := &r.live.received, int64(0), n
	if dst == r.up {
		counter, sent, received = &r.live.sent, n, 0
	}
	counter.Add(n)
	if r.progress != nil {
		r.progress(sent, received)
	}
}

// size adapts the next buffer to what one read brought: a full one deserves a larger.
func size(read int) int {
	switch {
	case read >= wire.Medium:
		return wire.Large
	case read >= wire.Small:
		return wire.Medium
	}
	return wire.Small
}

func (r *relay) cut() {
	r.client.Abort()
	r.up.Abort()
}

// outcome is why the relay ended; None is a regular end.
func (r *relay) outcome() (flow.Reason, error) {
	switch {
	case r.upErr == nil && r.clientErr == nil:
		return flow.None, nil
	case errors.Is(r.upErr, os.ErrDeadlineExceeded) || errors.Is(r.clientErr, os.ErrDeadlineExceeded):
		return flow.Timeout, os.ErrDeadlineExceeded
	case foreign(r.clientErr):
		return flow.ClientGone, r.clientErr
	case foreign(r.upErr):
		return flow.UpstreamReset, r.upErr
	}
	return flow.None, nil
}

// foreign says whether an error came from outside: closing a connection ourselves makes errors too.
func foreign(err error) bool { return err != nil && !errors.Is(err, net.ErrClosed) }
