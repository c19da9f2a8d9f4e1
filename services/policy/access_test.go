package policy

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
	"github.com/weft-mesh/weft/services/internal/rpc/rpctest"
)

func TestWhoMayCall(t *testing.T) {
	s := newService(t, memkv.New())
	defer background(t, func(ctx context.Context) error { return s.Run(ctx) })()
	access := rpctest.NewAccess(t, "policy", &policypb.PolicyService_ServiceDesc, s.Register)
	if got := access.Allowed(rpctest.System("gateway")); len(got) != 21 {
		t.Errorf("the gateway may call everything, got %v", got)
	}
	for _, tc := range []struct {
		account spiffe.Account
		want    []string
	}{
		{rpctest.System("distributor"), []string{"Watch"}},
		{rpctest.System("discovery"), nil},
		{spiffe.Account{Namespace: "default", Name: "reviews"}, nil},
		{spiffe.Account{Namespace: "default", Name: "gateway"}, nil},
	} {
		if diff := cmp.Diff(tc.want, access.Allowed(tc.account)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.account, diff)
		}
	}
}
