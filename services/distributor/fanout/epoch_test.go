package fanout_test

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/distributor/fanout"
	"github.com/weft-mesh/weft/services/distributor/fanout/fanouttest"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// epochs counts the sidecars that come from another history.
type epochs struct {
	nobody
	mu   sync.Mutex
	seen map[string]int
}

func (e *epochs) OtherEpoch(source string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen[source]++
}

func (e *epochs) of(source string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen[source]
}

// A sidecar that has applied more of an older history is served and counted: nobody may take it for one that is ahead.
func TestSidecarOfAnotherEpochIsServedAndCounted(t *testing.T) {
	ca := testca.New(t, "weft.local")
	seen := &epochs{seen: map[string]int{}}
	hub := fanout.New(config(), fanout.Deps{
		Observer: seen, Log: zaptest.NewLogger(t), Now: time.Now, Replica: "r2", Peers: func() int { return 0 },
	})
	restored := &replica{t: t, hub: hub, server: fanouttest.Serve(t, ca, func(r *rpc.Registrar) {
		configpb.RegisterConfigServiceServer(r, &endpoint{hub: hub})
		r.AllowService(&configpb.ConfigService_ServiceDesc, rpc.Workloads())
	})}
	before := newReplica(t, ca, config(), 0)
	before.publish(at(50, 50), shop)
	s := fanouttest.New(t, "x", "web-1", "x/db")
	s.Connect(before.conn("x/web"))
	s.Reached(at(50, 50))
	s.Disconnect()

	now := at(3, 60)
	now.Policy.Epoch = "restored"
	restored.publish(now, shop+"route x/db service=db\nrule backends=db")
	s.Connect(restored.conn("x/web"))
	s.Until("the restored state", func(v fanouttest.View) bool { return v.Received == 1 })
	if seen.of("policy") != 1 || seen.of("identity") != 0 {
		t.Errorf("counted %d of policy and %d of identity, want 1 and 0", seen.of("policy"), seen.of("identity"))
	}
}
