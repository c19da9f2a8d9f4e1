package subscribe

import (
	"context"
	"net/netip"
	"time"
)

const (
	// maxPlaces is how many addresses the sidecar wants to know of at once: the one that was not called for the longest time
	// makes room.
	maxPlaces = 1024
	// placeIdle is how long an address stays wanted that nobody calls.
	placeIdle = 10 * time.Minute
	// answerWithin is how long a distributor is waited for. One that says nothing, because it is older or overloaded, costs the
	// first connections that time, not every one.
	answerWithin = time.Second
)

// place is an IP address of which it is wanted what the mesh has there.
type place struct {
	wish
	used  time.Time
	asked time.Time // when the distributor was last asked; zero: not yet
}

// hopeless says that nobody is to be waited for; the caller holds mu.
func (c *Client) hopeless(p *place) bool {
	return !c.connected || !p.asked.IsZero() && time.Since(p.asked) >= answerWithin
}

// Address asks what the mesh has at an IP address, if that has not happened yet, and keeps it wanted for a while. The channel is
// closed once the answer is in the table, and at once when no distributor is there to answer.
func (c *Client) Address(addr netip.Addr) <-chan struct{} {
	if !addr.IsValid() || addr.Zone() != "" || addr.IsLoopback() || addr.IsUnspecified() || addr.IsMulticast() {
		return closed()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.places[addr]
	if p == nil {
		p = c.newPlace(addr)
	}
	p.used = time.Now()
	if !p.answered && c.hopeless(p) {
		return closed()
	}
	return p.done
}

// newPlace makes an address wanted; the caller holds mu.
func (c *Client) newPlace(addr netip.Addr) *place {
	if len(c.places) >= maxPlaces {
		var oldest netip.Addr
		for a, p := range c.places {
			if !oldest.IsValid() || p.used.Before(c.places[oldest].used) {
				oldest = a
			}
		}
		delete(c.places, oldest)
	}
	p := &place{wish: wish{done: make(chan struct{})}}
	c.places[addr] = p
	if c.state.HasAddress(addr) {
		p.answer()
	}
	poke(c.wake)
	poke(c.save)
	return p
}

// disconnected lets go of who waits for an answer that does not come; the caller holds mu.
func (c *Client) disconnected() {
	c.connected = false
	for _, p := range c.places {
		if !p.answered {
			close(p.done)
			p.done = make(chan struct{})
		}
	}
}

// forgetLoop drops addresses that nobody calls any more.
func (c *Client) forgetLoop(ctx context.Context) error {
	tick := time.NewTicker(placeIdle / 10)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			c.forget(now)
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *Client) forget(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for addr, p := range c.places {
		if now.Sub(p.used) >= placeIdle {
			delete(c.places, addr)
			poke(c.wake)
			poke(c.save)
		}
	}
}

func closed() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}
