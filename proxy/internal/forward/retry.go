package forward

import (
	"errors"
	"net"
	"os"
	"slices"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// failure is a try that did not lead to a response.
type failure struct {
	err error
	// again: sending the request once more is provably harmless.
	again bool
	// elsewhere: the endpoint is at fault, not the one connection.
	elsewhere bool
	// budgeted: the route asked for such retries and counts them.
	budgeted bool
	// granted: the budget has been asked already.
	granted bool
	// inbound: the endpoint's sidecar has failed the request, before its program has seen any of it.
	inbound bool
}

// mayRetry says whether there is leave for one more try.
func (x *exchange) mayRetry(f *failure, target Target) bool {
	limit := max(safeTries, 1+target.Retry.Attempts)
	if f.budgeted {
		limit = 1 + target.Retry.Attempts
	}
	if !f.again || x.rec.Tries >= limit || x.ctx.Err() != nil {
		return false
	}
	if end := x.deadline(target, false); !end.IsZero() && !time.Now().Before(end) {
		return false
	}
	return f.granted || x.decider.Retry()
}

// broken judges an error of the upstream connection before any byte of a response. untouched: nothing was sent.
func (x *exchange) broken(err error, untouched bool) *failure {
	ep := x.rec.Endpoint
	if x.sender != nil {
		if cause := x.sender.clientError(); cause != nil {
			return &failure{err: cause}
		}
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &failure{err: x.wrap(flow.Timeout, ep, err), again: x.repeatable(), elsewhere: true, budgeted: true}
	case refused(err):
		// The server ends the handshake only after we may send; it has read nothing of the request.
		return &failure{err: x.wrap(flow.TLS, ep, err), again: x.whole, elsewhere: true}
	}
	// A connection that was idle may have been closed by the server at the moment of the write: that is no fault.
	return &failure{err: x.wrap(flow.UpstreamReset, ep, err), again: untouched || x.repeatable(), elsewhere: x.up.Fresh}
}

// repeatable says that a request of which bytes were sent may be sent again.
func (x *exchange) repeatable() bool { return x.whole && x.req.Idempotent() }

// refused says whether the error is a TLS alert of the other side.
func refused(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

var errUnseen = errors.New("the endpoint's sidecar could not pass the request on")

var errStatus = errors.New("the route retries the status of the response")

// retryStatus says whether the response that has just begun should be thrown away for another try.
func (x *exchange) retryStatus(target Target) bool {
	if !x.repeatable() || !slices.Contains(target.Retry.Statuses, x.resp.Status) || x.rec.Tries > target.Retry.Attempts {
		return false
	}
	// Without leave to retry, the client gets this response.
	return x.decider.Retry()
}

// unseen is the failure by which the endpoint's sidecar vouches that its program has not seen the request, so that it may go
// elsewhere.
func (x *exchange) unseen(target Target) *failure {
	if x.engine.cfg.Direction != flow.Outbound || !target.Mesh || !x.whole {
		return nil
	}
	hop, reason, ok := flow.ParseErrorHeader(string(x.resp.MeshError()))
	if !ok || hop != flow.Inbound || reason != flow.Connect && reason != flow.Draining && reason != flow.NotReady {
		return nil
	}
	return &failure{err: x.wrap(reason, target.Endpoint, errUnseen), again: true, elsewhere: true, inbound: true}
}

// deadline is when the request, or also the try, has taken too long; zero: never.
func (x *exchange) deadline(target Target, perTry bool) (end time.Time) {
	if target.Timeout > 0 {
		end = x.rec.Start.Add(target.Timeout)
	}
	if perTry && target.Retry.PerTry > 0 {
		if t := time.Now().Add(target.Retry.PerTry); end.IsZero() || t.Before(end) {
			end = t
		}
	}
	return end
}
