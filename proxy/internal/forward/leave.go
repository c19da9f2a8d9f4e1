package forward

import (
	"context"
	"errors"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// lookEvery is how often clients that wait for their responses are looked at, and how long one waits before it is.
const lookEvery = 250 * time.Millisecond

var errLeft = errors.New("the client left before its response was complete")

// Run notices clients that leave while they wait for a response, until ctx ends: nobody reads from them then.
func (e *Engine) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var waiting []*live
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			waiting = e.waiting(waiting[:0], now.Add(-lookEvery).UnixNano())
			for i, l := range waiting {
				l.passOn()
				waiting[i] = nil
			}
		}
	}
}

// waiting adds to list those who have waited since before a time.
func (e *Engine) waiting(list []*live, before int64) []*live {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.lives {
		if since := l.waiting.Load(); since != 0 && since < before {
			list = append(list, l)
		}
	}
	return list
}

// await says that the request was sent in full. A client that has sent more already is there.
func (l *live) await(client *wire.Conn, start time.Time) {
	if len(client.Buffered()) == 0 {
		l.waiting.Store(start.UnixNano())
	}
}

// passOn tells upstream what a client has said by leaving. One that only ended its own direction may still want the response:
// upstream is told the same, and does with it what it would do without us. A broken connection ends the exchange.
func (l *live) passOn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up == nil || l.left.Load() || l.waiting.Load() == 0 {
		return
	}
	switch ended, broken := l.client.Left(); {
	case broken:
		l.left.Store(true)
		l.up.Abort()
	case ended:
		l.left.Store(true)
		up := l.up
		go func() { _ = up.CloseWrite() }() // a write that upstream does not take would hold it up; where it fails, reading does too
	}
}

// attend says that somebody reads from the client again.
func (l *live) attend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting.Store(0)
}
