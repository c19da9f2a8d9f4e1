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
		if data := src.Buffered(); len(data) > 0 {
			r.client.Arm(r.idle)
			r.up.Arm(r.idle)
			written, err := dst.Write(data)
			n += int64(written)
			r.count(dst, int64(written))
			if err != nil {
				*dstErr = err
				r.cut()
				return n
			}
			src.Expect(size(len(data)))
			src.Discard(len(data))
		}
		if err := src.Fill(); err != nil {
			if !ended(err) {
				*srcErr = err
				r.cut()
			} else if err := dst.CloseWrite(); err != nil {
				*dstErr = err
			}
			return n
		}
	}
}

// count tells how many bytes went to dst.
func (r *relay) count(dst *wire.Conn, n int64) {
	switch {
	case r.progress == nil:
	case dst == r.up:
		r.progress(n, 0)
	default:
		r.progress(0, n)
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
