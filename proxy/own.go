package proxy

import "net/netip"

// ownAddress says whether an address leads to one of the sidecar's own listeners: a program that calls it would come back to
// where it is.
func ownAddress(advertise string, l *listeners) func(netip.AddrPort) bool {
	host, _ := netip.ParseAddr(advertise) // checked by Config.Validate
	ports := map[uint16]bool{portOf(l.mesh.Addr().String()): true, portOf(l.admin.Addr().String()): true}
	if l.inbound != nil {
		ports[portOf(l.inbound.Addr().String())] = true
	}
	return func(to netip.AddrPort) bool {
		return ports[to.Port()] && (to.Addr() == host.Unmap() || to.Addr().IsLoopback())
	}
}
