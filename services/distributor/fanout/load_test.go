package fanout_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/distributor/fanout/fanouttest"
)

// fleet is a service and a hundred workloads that call it.
func fleet(n int) string {
	var b strings.Builder
	b.WriteString("service x/api accounts=api ports=80:http\n")
	b.WriteString("workload x/api-1 account=api services=api address=10.0.0.1 ports=8080\n")
	for i := range n {
		fmt.Fprintf(&b, "workload x/w%03d account=w address=10.0.1.%d mesh=15008 ports=8080\n", i, i)
	}
	return b.String()
}

// TestC7_ChangeReachesAHundredSidecars connects a hundred sidecars with identities of their own, changes a route a few times,
// and measures from compilation to the last acknowledgement.
func TestC7_ChangeReachesAHundredSidecars(t *testing.T) {
	const sidecars = 100
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	world := fleet(sidecars)
	r.publish(at(1, 1), world)
	conns := make([]grpc.ClientConnInterface, 10)
	for i := range conns {
		conns[i] = r.conn("x/w")
	}
	all := make([]*fanouttest.Sidecar, sidecars)
	for i := range all {
		all[i] = fanouttest.New(t, "x", fmt.Sprintf("w%03d", i), "x/api")
		all[i].Connect(conns[i%len(conns)])
	}
	for _, s := range all {
		s.Reached(at(1, 1))
	}
	var took []time.Duration
	for seq := uint64(2); seq < 22; seq++ {
		r.publish(at(seq, 1), world+fmt.Sprintf("route x/api service=api\nrule backends=api timeout=%ds\n", seq))
		for _, s := range all {
			s.Reached(at(seq, 1))
		}
		converges(t, r, policyAt(seq), &configpb.Convergence{Converged: true, Affected: sidecars, Applied: sidecars})
		took = append(took, r.hub.Convergence(policyAt(seq)).GetTook().AsDuration())
	}
	slices.Sort(took)
	t.Logf("from compilation to the last of %d acknowledgements: median %s, longest %s", sidecars, took[len(took)/2], took[len(took)-1])
	if n := r.hub.Behind(); n != 0 {
		t.Errorf("%d sidecars are behind", n)
	}
}

// TestStuckSidecarsMakeNobodyWait: one sidecar does not acknowledge, one does not even read; a third sees every change, and
// the first gets only the newest state once it answers again.
func TestStuckSidecarsMakeNobodyWait(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	world := fleet(3)
	r.publish(at(1, 1), world)
	silent, well := fanouttest.New(t, "x", "w000", "x/api"), fanouttest.New(t, "x", "w001", "x/api")
	silent.Connect(r.conn("x/w"))
	well.Connect(r.conn("x/w"))
	deaf(t, r, "w002")
	silent.Reached(at(1, 1))
	well.Reached(at(1, 1))

	silent.Silence(true)
	for seq := uint64(2); seq < 300; seq++ {
		r.publish(at(seq, 1), world+fmt.Sprintf("route x/api service=api\nrule path=exact:/%s backends=api timeout=%ds\n", strings.Repeat("x", 2000), seq))
		well.Reached(at(seq, 1))
	}
	if v := silent.View(); v.Updates != 2 {
		t.Errorf("the silent sidecar got %d updates, want the first and one more", v.Updates)
	}
	silent.Silence(false)
	if v := silent.Reached(at(299, 1)); v.Updates != 3 {
		t.Errorf("the silent sidecar got %d updates, want one with the newest state", v.Updates)
	}
}

// deaf opens a stream and never reads from it.
func deaf(t *testing.T, r *replica, workload string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	stream, err := configpb.NewConfigServiceClient(r.conn("x/w")).Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	open := &configpb.Open{Namespace: "x", Workload: workload, Services: []string{"x/api"}}
	if err := stream.Send(&configpb.StreamRequest{Request: &configpb.StreamRequest_Open{Open: open}}); err != nil {
		t.Fatal(err)
	}
}
