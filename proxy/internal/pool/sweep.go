package pool

import (
	"time"

	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// Sweep closes what has been idle for too long. Call it every few seconds.
func (p *Pool) Sweep(now time.Time) {
	for _, h := range p.all() {
		for _, c := range h.expire(now.Add(-p.cfg.IdleTimeout)) {
			c.Close()
		}
	}
}

// Retain closes idle connections to endpoints that keep does not know any more, and forgets those endpoints. Connections
// in use finish their exchange and are closed then.
func (p *Pool) Retain(keep func(endpoint string) bool) {
	p.mu.Lock()
	var gone []*home
	for k, h := range p.homes {
		if !keep(k.endpoint) {
			delete(p.homes, k)
			gone = append(gone, h)
		}
	}
	p.mu.Unlock()
	for _, h := range gone {
		for _, c := range h.close() {
			c.Close()
		}
	}
}

// Close closes every idle connection; those in use are closed when they come back.
func (p *Pool) Close() { p.Retain(func(string) bool { return false }) }

// Idle is how many connections are kept.
func (p *Pool) Idle() (n int) {
	for _, h := range p.all() {
		h.mu.Lock()
		n += len(h.idle)
		h.mu.Unlock()
	}
	return n
}

func (p *Pool) all() []*home {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*home, 0, len(p.homes))
	for _, h := range p.homes {
		list = append(list, h)
	}
	return list
}

// expire takes out what has been idle since before; the list is in order of coming back.
func (h *home) expire(before time.Time) []*wire.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for n < len(h.idle) && h.idle[n].IdleSince.Before(before) {
		n++
	}
	old := append([]*wire.Conn(nil), h.idle[:n]...)
	h.idle = append(h.idle[:0], h.idle[n:]...)
	return old
}

func (h *home) close() []*wire.Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	old := h.idle
	h.idle = nil
	return old
}
