package discovery

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
	"github.com/weft-mesh/weft/services/internal/rpc/rpctest"
)

func TestWhoMayCall(t *testing.T) {
	s, err := New(Default(), Deps{
		Log: zap.NewNop(), Store: memkv.New(), Metrics: prometheus.NewRegistry(), Replica: "a",
		Peers: func() []string { return nil }, Gateway: "gateway", Distributor: "distributor",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	access := rpctest.NewAccess(t, "discovery", &discoverypb.DiscoveryService_ServiceDesc, s.Register)
	if got := access.Allowed(rpctest.System("gateway")); len(got) != 12 {
		t.Errorf("the gateway may call all but Register and Deregister, got %v", got)
	}
	for _, tc := range []struct {
		account spiffe.Account
		want    []string
	}{
		{rpctest.System("distributor"), []string{"Watch"}},
		{rpctest.System("policy"), nil},
		{spiffe.Account{Namespace: "default", Name: "reviews"}, []string{"Deregister", "Register"}},
	} {
		if diff := cmp.Diff(tc.want, access.Allowed(tc.account)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.account, diff)
		}
	}
}

func TestConfigReportsAllProblems(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	err := Config{}.Validate()
	if joined, ok := err.(interface{ Unwrap() []error }); !ok || len(joined.Unwrap()) != 6 {
		t.Errorf("want six problems, got %v", err)
	}
}
