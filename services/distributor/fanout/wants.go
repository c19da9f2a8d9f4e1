package fanout

import (
	"net/netip"

	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/model"
)

// wants is what concerns one sidecar. Immutable: a subscription makes a new one.
type wants struct {
	workload  model.Key
	account   compile.Account
	services  map[model.Key]bool // bodies
	endpoints map[model.Key]bool // of the bodies and of every backend that they name
	addresses map[netip.Addr]bool
}

// touched says whether a change concerns the sidecar; state is the current one.
func (w wants) touched(c *compile.Changes, state *compile.State) bool {
	return c.All || c.Everyone ||
		c.Inbound[w.workload] || c.Access[w.account] ||
		c.DefaultAccess && !state.Selected(w.account) ||
		meet(w.services, c.Services) || meet(w.endpoints, c.Endpoints) || meet(w.addresses, c.Addresses)
}

// refers says whether a resource of the sidecar, by name, is part of a change.
func (w wants) refers(name string, c *compile.Changes) bool {
	if c.All {
		return true
	}
	switch name {
	case compile.NameInbound:
		return c.Inbound[w.workload]
	case compile.NameAccess:
		return c.Access[w.account] || c.DefaultAccess
	}
	for k := range c.Services {
		if name == compile.ServiceName(k) {
			return true
		}
	}
	for k := range c.Endpoints {
		if name == compile.EndpointsName(k) {
			return true
		}
	}
	for a := range c.Addresses {
		if name == compile.AddressName(a) {
			return true
		}
	}
	return c.Everyone && (name == compile.NameMesh || name == compile.NameBundle || name == compile.NameEgress || isShard(name))
}

// meet says whether two sets have something in common.
func meet[K comparable](a, b map[K]bool) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	for k := range a {
		if b[k] {
			return true
		}
	}
	return false
}
