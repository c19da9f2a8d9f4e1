package egress

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/proxy/internal/table"
)

// Decision is what holds for a destination.
type Decision struct {
	// Allowed: the destination may be called, at the address that was asked about or, by Host, at what the host resolves to.
	Allowed bool
	// Service is the "namespace/name" of the external service that names the destination; empty: none.
	Service string
	// Hosts: an external service of this port goes by host names, so that the host may still say more.
	Hosts bool
}

// Of is the policy of a table. One that says nothing is strict where mTLS is.
func Of(t *table.Table) *table.Egress {
	if t.Egress != nil {
		return t.Egress
	}
	return &table.Egress{Strict: t.Mesh.MTLS == table.Strict}
}

// Address decides by address and port alone. Of several services that name an address the one with the narrowest range counts,
// then the one that comes first. Datagrams and byte streams are decided alike.
func Address(e *table.Egress, to netip.AddrPort) Decision {
	d := Decision{Allowed: !e.Strict}
	addr, narrowest := to.Addr().Unmap().WithZone(""), -1
	for i := range e.Services {
		s := &e.Services[i]
		if !serves(s, to.Port()) {
			continue
		}
		d.Hosts = d.Hosts || len(s.Hosts) > 0
		for _, prefix := range s.Addresses {
			if prefix.Bits() > narrowest && prefix.Contains(addr) {
				d.Allowed, d.Service, narrowest = true, s.Name, prefix.Bits()
			}
		}
	}
	if d.Service != "" {
		d.Hosts = false // the address has said it all
	}
	return d
}

// Host decides by the name that a client asks for: a host name, with or without a port. A name in full comes before a "*.",
// a longer one before a shorter, then the service that comes first.
func Host(e *table.Egress, host string, port uint16) Decision {
	d := Decision{Allowed: !e.Strict}
	host = Name(host)
	longest := 0
	for i := range e.Services {
		s := &e.Services[i]
		if !serves(s, port) {
			continue
		}
		for _, pattern := range s.Hosts {
			if n := fits(pattern, host); n > longest {
				d.Allowed, d.Service, longest = true, s.Name, n
			}
		}
	}
	return d
}

// Name is a host name as it is compared and resolved: without port and final dot, in lower case. An IP address is no name,
// nor is what has other characters than names have: after a NUL another reader might see the end.
func Name(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || strings.ContainsFunc(host, foreign) {
		return ""
	}
	return host
}

// foreign says whether a character is none of a host name in lower case.
func foreign(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

// fits says how well a pattern fits a host: 0 not at all.
func fits(pattern, host string) int {
	suffix, wild := strings.CutPrefix(pattern, "*")
	switch {
	case !wild && pattern == host:
		return 1 << 16 // longer than any name
	case wild && len(host) > len(suffix) && strings.HasSuffix(host, suffix) && host[0] != '.':
		return len(suffix)
	}
	return 0
}

func serves(s *table.ExternalService, port uint16) bool {
	return len(s.Ports) == 0 || slices.Contains(s.Ports, port)
}
