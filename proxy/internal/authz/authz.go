package authz

import (
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// Check says whether peer may make the request, and by which rule. A nil access (never configured) denies. A zero peer (not
// authenticated) passes only where everything is open. A nil request means a TCP connection: it can only fit rules without
// matches, because there is nothing to match. Check does not allocate.
func Check(a *table.Access, peer spiffeid.ID, req flow.Request) (rule string, ok bool) {
	if a == nil {
		return "", false
	}
	if a.Open {
		return "", true
	}
	if peer.IsZero() {
		return "", false
	}
	for i := range a.Rules {
		r := &a.Rules[i]
		if names(r, peer) && fits(r.Matches, req) {
			return r.Name, true
		}
	}
	return "", false
}

// names says whether the rule is about the peer.
func names(r *table.AccessRule, peer spiffeid.ID) bool {
	if _, ok := r.IDs[peer]; ok {
		return true
	}
	id := peer.String()
	for _, prefix := range r.IDPrefixes {
		// A prefix that does not end a segment would let one name speak for another that begins like it.
		if strings.HasSuffix(prefix, "/") && strings.HasPrefix(id, prefix) {
			return true
		}
	}
	return false
}

func fits(matches []match.HTTP, req flow.Request) bool {
	if len(matches) == 0 {
		return true
	}
	return req != nil && match.Any(matches, req)
}
