package fanout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/distributor/fanout/fanouttest"
	"github.com/weft-mesh/weft/services/internal/model"
)

// policyAt is a target that names nothing but a policy revision.
func policyAt(seq uint64) model.Vector {
	return model.Vector{Policy: at(seq, 0).Policy}
}

// converges waits until a comparison is as wanted.
func converges(t *testing.T, r *replica, target model.Vector, want *configpb.Convergence) {
	t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for {
		changed := r.hub.Changed()
		got := r.hub.Convergence(target)
		diff := cmp.Diff(want, got, protocmp.Transform(), protocmp.IgnoreFields(&configpb.Convergence{}, "took"))
		if diff == "" {
			if timed := got.GetTook() != nil; timed != (want.GetConverged() && want.GetApplied() > 0) {
				t.Errorf("took: %v", got.GetTook())
			}
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			t.Fatalf("convergence to %v (-want +got):\n%s", target.Policy, diff)
		}
	}
}

func TestConvergence(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	r.publish(at(1, 1), shop)
	web, db := fanouttest.New(t, "x", "web-1", "x/db"), fanouttest.New(t, "x", "db-1")
	web.Connect(r.conn("x/web"))
	db.Connect(r.conn("x/db"))
	web.Reached(at(1, 1))
	db.Reached(at(1, 1))

	converges(t, r, policyAt(2), &configpb.Convergence{Compiling: true})

	r.publish(at(2, 1), shop)
	converges(t, r, policyAt(2), &configpb.Convergence{Converged: true})

	const route = "route x/db service=db\nrule backends=db timeout=1s\n"
	web.Silence(true)
	r.publish(at(3, 1), shop+route)
	converges(t, r, policyAt(3), &configpb.Convergence{Affected: 1, Behind: []string{"x/web-1"}})
	converges(t, r, policyAt(2), &configpb.Convergence{Converged: true})
	web.Silence(false)
	converges(t, r, policyAt(3), &configpb.Convergence{Converged: true, Affected: 1, Applied: 1})

	web.Disconnect()
	r.publish(at(4, 1), shop+route+"policy x/p account=db\nallow from=web\n")
	converges(t, r, policyAt(4), &configpb.Convergence{Converged: true, Affected: 1, Applied: 1})

	// The sidecar that went away is remembered to want the database.
	r.publish(at(5, 1), shop+"policy x/p account=db\nallow from=web\n")
	converges(t, r, policyAt(5), &configpb.Convergence{Converged: true, Affected: 1, Away: []string{"x/web-1"}})

	// The whole mesh is concerned, one sidecar of it is not here.
	r.publish(at(6, 1), shop+"mesh mtls=strict")
	converges(t, r, policyAt(6), &configpb.Convergence{Converged: true, Affected: 2, Applied: 1, Away: []string{"x/web-1"}})

	// Several sources: each by the step that reached it.
	target := model.Vector{Policy: at(5, 0).Policy, Identity: at(0, 0).Identity}
	converges(t, r, target, &configpb.Convergence{Converged: true, Affected: 2, Applied: 1, Away: []string{"x/web-1"}})

	// Its lease runs out: it may still be there and go on by what it knew, so that it is named.
	lost := strings.Replace(shop, "ports=8080", "ports=8080 state=unknown", 1)
	r.publish(at(7, 1), lost+"mesh mtls=strict\n")
	r.publish(at(8, 1), lost+"mesh mtls=permissive\n")
	converges(t, r, policyAt(8), &configpb.Convergence{Converged: true, Affected: 2, Applied: 1, Away: []string{"x/web-1"}})
}

// TestC10_RefusedResourceHurtsOnlyItself: a sidecar that refuses one resource applies the others, and the refusal is shown
// until something better comes.
func TestC10_RefusedResourceHurtsOnlyItself(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	r.publish(at(1, 1), shop)
	web := fanouttest.New(t, "x", "web-1", "x/db", "x/web")
	web.Connect(r.conn("x/web"))
	web.Reached(at(1, 1))
	good := web.View().Held["service/x/db"].GetVersion()

	web.Refuse("service/x/db", "this sidecar does not like it")
	r.publish(at(2, 1), shop+"route x/db service=db\nrule backends=db timeout=1s\nroute x/web service=web\nrule backends=web timeout=2s\n")
	v := web.Reached(at(2, 1))
	if v.Held["service/x/db"].GetVersion() != good || v.Held["service/x/web"].GetService().GetRoute() != "x/web" {
		t.Errorf("want the last good of one and the new one of the other, got %v", v.Held)
	}
	refused := r.state.Service(model.Key{Namespace: "x", Name: "db"}).Version
	nack := &configpb.Nack{Resource: "service/x/db", Version: refused, Error: "this sidecar does not like it"}
	converges(t, r, policyAt(2), &configpb.Convergence{
		Affected: 1, Refused: []*configpb.Refusal{{Sidecar: "x/web-1", Nacks: []*configpb.Nack{nack}}},
	})
	if diff := cmp.Diff([]*configpb.Nack{nack}, r.hub.Sidecars()[0].GetNacks(), protocmp.Transform()); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}

	web.Refuse("service/x/db", "")
	r.publish(at(3, 1), shop)
	web.Reached(at(3, 1))
	converges(t, r, policyAt(3), &configpb.Convergence{Converged: true, Affected: 1, Applied: 1})
	if n := r.hub.Sidecars()[0].GetNacks(); len(n) != 0 {
		t.Errorf("still refused: %v", n)
	}
}

func TestStatusOfSidecars(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	r.publish(at(1, 1), shop)
	s := fanouttest.New(t, "x", "web-1", "x/db")
	s.Connect(r.conn("x/web"))
	s.Reached(at(1, 1))
	converges(t, r, policyAt(1), &configpb.Convergence{Converged: true, Affected: 2, Applied: 1, Away: []string{"x/db-1"}})
	got := r.hub.Sidecars()
	want := []*configpb.SidecarStatus{{
		Namespace: "x", Workload: "web-1", SpiffeId: "spiffe://weft.local/ns/x/sa/web", Connected: true, Replica: "r1",
		BuildVersion: "test", Services: []string{"x/db"},
	}}
	ignore := protocmp.IgnoreFields(&configpb.SidecarStatus{}, "connect_time", "svid_expire_time", "applied")
	if diff := cmp.Diff(want, got, protocmp.Transform(), ignore); diff != "" {
		t.Errorf("sidecars (-want +got):\n%s", diff)
	}
	if unix := got[0].GetSvidExpireTime().GetSeconds(); unix != 1_900_000_000 {
		t.Errorf("end of the SVID: %d", unix)
	}
	if n := len(r.hub.Registered()); n != 2 {
		t.Errorf("%d registered sidecars, want 2", n)
	}
}

// TestForgottenHistoryCountsEverybody: for a target older than what is remembered nobody is left out.
func TestForgottenHistoryCountsEverybody(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	for seq := range uint64(10_000) {
		r.publish(at(seq+1, 1), []string{"", "service x/api accounts=api ports=80:http"}[seq%2])
	}
	s := fanouttest.New(t, "x", "web-1")
	s.Connect(r.conn("x/web"))
	s.Reached(at(10_000, 1))
	converges(t, r, policyAt(5), &configpb.Convergence{Converged: true, Affected: 1, Applied: 1})
	converges(t, r, policyAt(9_999), &configpb.Convergence{Converged: true, Affected: 1, Applied: 1})
}
