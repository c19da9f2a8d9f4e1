package h2

import (
	"errors"

	"golang.org/x/net/http2"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/limit"
)

const (
	// trusted times as many resets are taken from another sidecar, because it speaks for many clients that it bounds itself.
	trusted = 10
	// A peer's control frames are judged in lots: those beside which this many bytes of requests and bodies have moved, in
	// either direction, belong to those.
	lot         = 1000
	bytesForLot = 16 * lot
)

// over counts a limit that the peer has exceeded and is the error that ends the connection with ENHANCE_YOUR_CALM.
func (c *conn) over(name limit.Name) error { return &calm{c.limits.guard.Refuse(name)} }

// resetOnce counts a stream that the peer has reset, or made us reset. Each that came to its end makes up for one: who cancels some
// of its calls is no attacker, however many calls it makes. Reader only.
func (c *conn) resetOnce() error {
	own := c.abuse.take()
	shared := c.client || c.trusted || c.limits.resets.take() || c.abuse.fresh()
	if own && shared {
		return nil
	}
	c.mu.Lock()
	n := c.answered
	c.answered = 0
	c.mu.Unlock()
	c.abuse.give(n)
	if n == 0 || !own && !c.abuse.take() {
		return c.over(limit.Resets)
	}
	return nil
}

// calm is an error of the connection that names the limit.
type calm struct{ limit error }

// Error names the limit.
func (e *calm) Error() string { return e.limit.Error() }

// Unwrap returns both what HTTP/2 calls it and the limit.
func (e *calm) Unwrap() []error {
	return []error{http2.ConnectionError(http2.ErrCodeEnhanceYourCalm), e.limit}
}

// debug is what a GOAWAY for err tells the peer's people.
func debug(err error) string {
	if over, ok := errors.AsType[*limit.Exceeded](err); ok {
		return over.Error()
	}
	return ""
}

// lostBy is the reason of requests whose client's connection has ended by err: it left, or was cut off.
func lostBy(err error) flow.Reason {
	if debug(err) != "" {
		return flow.Overload
	}
	return flow.ClientGone
}

// beside counts a frame that moves nothing by itself. Reader only.
func (c *conn) beside() error {
	if c.besides++; c.besides < lot {
		return nil
	}
	c.besides = 0
	c.mu.Lock()
	moved := c.moved - c.movedThen
	c.movedThen = c.moved
	c.mu.Unlock()
	if moved >= bytesForLot {
		return nil
	}
	for range lot {
		if !c.calm.take() {
			return c.over(limit.ControlFrames)
		}
	}
	return nil
}
