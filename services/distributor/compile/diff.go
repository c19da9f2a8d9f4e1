package compile

import (
	"maps"
	"net/netip"

	"github.com/weft-mesh/weft/services/internal/model"
)

// Changes says what differs between two states: what has another version, came or went.
type Changes struct {
	// All says that everything has to be taken as changed, because the state before is not known.
	All bool
	// Everyone says that something changed that every sidecar holds: settings, bundle, egress or index.
	Everyone bool
	// Inbound holds workloads.
	Inbound map[model.Key]bool
	// Access holds accounts that are, or were, selected by a policy.
	Access map[Account]bool
	// DefaultAccess says that access changed for every account that no policy selects.
	DefaultAccess bool
	// Services and Endpoints hold services.
	Services  map[model.Key]bool
	Endpoints map[model.Key]bool
	// Addresses holds IP addresses at which something may differ.
	Addresses map[netip.Addr]bool
}

// Empty says that nothing differs.
func (c *Changes) Empty() bool {
	return !c.All && !c.Everyone && !c.DefaultAccess && len(c.Inbound)+len(c.Access)+len(c.Services)+len(c.Endpoints) == 0
}

// Merge returns both changes together.
func (c *Changes) Merge(o *Changes) *Changes {
	return &Changes{
		All:           c.All || o.All,
		Everyone:      c.Everyone || o.Everyone,
		DefaultAccess: c.DefaultAccess || o.DefaultAccess,
		Inbound:       union(c.Inbound, o.Inbound),
		Access:        union(c.Access, o.Access),
		Services:      union(c.Services, o.Services),
		Endpoints:     union(c.Endpoints, o.Endpoints),
		Addresses:     union(c.Addresses, o.Addresses),
	}
}

// Diff compares two states; everything differs from nil.
func Diff(before, now *State) *Changes {
	if before == nil {
		return &Changes{All: true}
	}
	c := &Changes{
		Everyone: differ(before.mesh, now.mesh) || differ(before.bundle, now.bundle) || differ(before.egress, now.egress) ||
			diffIndex(before, now),
		DefaultAccess: differ(before.closed, now.closed),
		Inbound:       diffMap(before.inbound, now.inbound),
		Access:        diffAccess(before, now),
		Services:      diffMap(before.services, now.services),
		Endpoints:     diffMap(before.endpoints, now.endpoints),
		Addresses:     map[netip.Addr]bool{},
	}
	for k := range c.Endpoints {
		diffAddresses(c.Addresses, before.endpoints[k], now.endpoints[k])
	}
	for k := range c.Services { // the protocol of a port is the service's
		if samePorts(before.services[k], now.services[k]) {
			continue
		}
		diffAddresses(c.Addresses, before.endpoints[k], nil)
		diffAddresses(c.Addresses, nil, now.endpoints[k])
	}
	return c
}

func differ(a, b *Resource) bool {
	return a != b && (a == nil || b == nil || a.Version != b.Version)
}

func diffIndex(before, now *State) bool {
	for i := range now.index {
		if before.index[i].Version != now.index[i].Version {
			return true
		}
	}
	return false
}

func diffMap[K comparable](before, now map[K]*Resource) map[K]bool {
	if same(before, now) {
		return nil
	}
	out := map[K]bool{}
	common := 0
	for k, r := range now {
		old := before[k]
		if old != nil {
			common++
		}
		if differ(old, r) {
			out[k] = true
		}
	}
	if common == len(before) { // nothing has gone
		return out
	}
	for k := range before {
		if now[k] == nil {
			out[k] = true
		}
	}
	return out
}

// diffAccess also sees accounts that came under a policy or left its reach, when that made a difference.
func diffAccess(before, now *State) map[Account]bool {
	out := map[Account]bool{}
	for _, m := range []map[Account]*Resource{before.access, now.access} {
		for a := range m {
			if differ(before.Access(a), now.Access(a)) {
				out[a] = true
			}
		}
	}
	return out
}

func union[K comparable](a, b map[K]bool) map[K]bool {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}
