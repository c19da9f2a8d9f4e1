package outbound

import (
	"net"
	"net/netip"
	"sync"
)

// own knows the addresses that lead back to this server. The zero value knows none.
type own struct {
	more func(netip.AddrPort) bool // may be nil

	mu   sync.Mutex
	here map[netip.AddrPort]int
}

// add says that an address is served, until the function that it returns is called.
func (o *own) add(addr net.Addr) (remove func()) {
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return func() {} // not one that a connection could be meant for
	}
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.here == nil {
		o.here = map[netip.AddrPort]int{}
	}
	o.here[at]++
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.here[at]--; o.here[at] == 0 {
			delete(o.here, at)
		}
	}
}

// has says whether a connection to an address would come back here.
func (o *own) has(to netip.AddrPort) bool {
	o.mu.Lock()
	here := o.here[to] > 0
	if to.Addr().IsLoopback() { // of a listener on all addresses only this one is known to be here
		here = here || o.here[netip.AddrPortFrom(netip.IPv4Unspecified(), to.Port())] > 0 ||
			o.here[netip.AddrPortFrom(netip.IPv6Unspecified(), to.Port())] > 0
	}
	o.mu.Unlock()
	return here || o.more != nil && o.more(to)
}
