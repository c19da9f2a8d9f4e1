package identity_test

import (
	"slices"
	"testing"

	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

// Clients that know no SPIFFE find the control plane by host names; nothing that joins can be taken for it.
func TestOnlyTheControlPlaneHasHostNames(t *testing.T) {
	r := start(t, memkv.New(), "a")
	if got, want := r.system(t, "gateway").Certificate.Leaf.DNSNames, []string{"gateway.weft-system.weft.local"}; !slices.Equal(got, want) {
		t.Errorf("the gateway's SVID has the host names %q, want %q", got, want)
	}
	if got := r.join(t, r.token(t, "gateway")).Certificate.Leaf.DNSNames; len(got) != 0 {
		t.Errorf("the SVID of a workload has the host names %q", got)
	}
}
