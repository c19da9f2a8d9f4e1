package fanout_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/services/distributor/fanout/fanouttest"
)

func TestFirstUpdatesHoldWhatIsAskedFor(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	s := fanouttest.New(t, "x", "web-1", "x/db", "x/nothing")
	s.Connect(r.conn("x/web")) // before there is a state: the stream waits
	r.publish(at(1, 1), shop)
	v := s.Reached(at(1, 1))
	want := []string{"access", "bundle", "egress", "endpoints/x/db", "inbound", "mesh", "service/x/db"}
	if diff := cmp.Diff(want, v.Names()); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"x/db", "x/web"}, v.Index); diff != "" {
		t.Errorf("index (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"service/x/nothing"}, v.Removed); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	in := v.Held["inbound"].GetInbound()
	if in.GetAccount() != "web" || len(in.GetPorts()) != 1 || in.GetPorts()[0].GetTargetPort() != 8080 {
		t.Errorf("inbound: %v", in)
	}
}

func TestUnregisteredWorkloadGetsAllButPorts(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	r.publish(at(1, 1), shop)
	s := fanouttest.New(t, "x", "newcomer", "x/web")
	s.Connect(r.conn("x/job"))
	v := s.Reached(at(1, 1))
	if in := v.Held["inbound"].GetInbound(); in.GetWorkload() != "newcomer" || in.GetAccount() != "job" || len(in.GetPorts()) != 0 {
		t.Errorf("inbound: %v", in)
	}
	if v.Held["service/x/web"] == nil || v.Held["mesh"] == nil {
		t.Errorf("holds only %v", v.Names())
	}
	r.publish(at(1, 2), shop+"workload x/newcomer account=job services=jobs address=10.0.0.3 mesh=15008 ports=1\nservice x/jobs accounts=job ports=1")
	s.Until("registration in inbound", func(v fanouttest.View) bool { return len(v.Held["inbound"].GetInbound().GetPorts()) == 1 })
}

func TestSidecarGetsOnlyItsOwnConfiguration(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	r.publish(at(1, 1), shop)
	for name, c := range map[string]struct{ account, workload string }{
		"another account":   {"x/db", "web-1"},
		"another namespace": {"y/web", "web-1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := fanouttest.New(t, "x", c.workload)
			s.Connect(r.conn(c.account))
			if err := s.Ended(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), `"x/web-1"`) {
				t.Errorf("want PermissionDenied that names the workload, got %v", err)
			}
			if v := s.View(); v.Updates != 0 {
				t.Errorf("got %d updates", v.Updates)
			}
		})
	}
	t.Run("name taken over later", func(t *testing.T) {
		s := fanouttest.New(t, "x", "newcomer")
		s.Connect(r.conn("x/job"))
		s.Reached(at(1, 1))
		r.publish(at(1, 2), shop+"workload x/newcomer account=web services=web address=10.0.0.3 mesh=15008 ports=1")
		if err := s.Ended(); status.Code(err) != codes.PermissionDenied {
			t.Errorf("want PermissionDenied, got %v", err)
		}
	})
}

func TestSubscriptionsFollowWhatExists(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	r.publish(at(1, 1), shop)
	s := fanouttest.New(t, "x", "web-1")
	s.Connect(r.conn("x/web"))
	s.Reached(at(1, 1))

	s.Subscribe([]string{"x/db", "x/later"}, nil)
	s.Until("answers", func(v fanouttest.View) bool { return v.Held["service/x/db"] != nil && len(v.Removed) == 1 })

	r.publish(at(1, 2), shop+"service x/later accounts=l ports=1")
	s.Until("the service that came to exist", func(v fanouttest.View) bool { return v.Held["service/x/later"] != nil })

	r.publish(at(2, 2), shop+"service x/later accounts=l ports=1\nroute x/r service=later\nrule backends=web,db,none")
	v := s.Until("the endpoints of backends", func(v fanouttest.View) bool { return v.Held["endpoints/x/web"] != nil })
	if got := v.Held["service/x/later"].GetService().GetRules()[0].GetBackends()[2]; !got.GetMissing() {
		t.Errorf("backend x/none: %v", got)
	}

	r.publish(at(3, 3), shop)
	s.Until("the service to go with its backends", func(v fanouttest.View) bool {
		return v.Held["service/x/later"] == nil && v.Held["endpoints/x/web"] == nil && v.Held["endpoints/x/db"] != nil
	})

	s.Subscribe(nil, []string{"x/db"})
	s.Until("unsubscription", func(v fanouttest.View) bool { return v.Held["service/x/db"] == nil && v.Held["endpoints/x/db"] == nil })
}

func TestC7_ChangesReachWhomTheyConcernAndNobodyElse(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	r.publish(at(1, 1), shop)
	web, db := fanouttest.New(t, "x", "web-1", "x/db"), fanouttest.New(t, "x", "db-1")
	web.Connect(r.conn("x/web"))
	db.Connect(r.conn("x/db"))
	web.Reached(at(1, 1))
	before := db.Reached(at(1, 1))

	r.publish(at(2, 1), shop) // a change that comes to nothing
	r.publish(at(3, 1), shop+"route x/db service=db\nrule backends=db timeout=1s")
	got := web.Reached(at(3, 1))
	if got.Held["service/x/db"].GetService().GetRoute() != "x/db" {
		t.Errorf("service: %v", got.Held["service/x/db"])
	}
	r.publish(at(4, 1), shop+"route x/db service=db\nrule backends=db timeout=1s\npolicy x/p account=db\nallow from=web")
	after := db.Reached(at(4, 1))
	if n := after.Updates - before.Updates; n != 1 {
		t.Errorf("the database's sidecar got %d updates, want 1: its access", n)
	}
	if n := after.Received - before.Received; n != 1 {
		t.Errorf("the database's sidecar got %d resources, want 1", n)
	}
	if v := web.View(); v.Vector.Policy.Seq != 3 {
		t.Errorf("the web's sidecar was told of %v, which does not concern it", v.Vector)
	}
}

func TestChangeThatIsTakenBackIsStillAcknowledged(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	r.publish(at(1, 1), shop)
	s := fanouttest.New(t, "x", "db-1", "x/db")
	s.Connect(r.conn("x/db"))
	s.Reached(at(1, 1))
	s.Silence(true)
	r.publish(at(2, 1), shop+"route x/db service=db\nrule backends=db")
	s.Until("the update that it does not answer", func(v fanouttest.View) bool { return v.Vector.Reaches(at(2, 1)) })
	r.publish(at(3, 1), shop+"route x/other service=db\nrule backends=db")
	r.publish(at(4, 1), shop+"route x/db service=db\nrule backends=db")
	s.Silence(false)
	s.Reached(at(4, 1))
}

func TestResumeOnAnotherReplicaSendsNothingAgain(t *testing.T) {
	ca := testca.New(t, "weft.local")
	a, b := newReplica(t, ca, config(), 1), newReplica(t, ca, config(), 1)
	for _, r := range []*replica{a, b} {
		r.publish(at(5, 5), shop)
	}
	s := fanouttest.New(t, "x", "web-1", "x/db")
	s.Connect(a.conn("x/web"))
	s.Reached(at(5, 5))
	s.Disconnect()
	s.Connect(b.conn("x/web"))
	if v := s.Reached(at(5, 5)); v.Received != 0 {
		t.Errorf("received %d resources again", v.Received)
	}
	s.Disconnect()
	a.publish(at(6, 5), shop+"route x/db service=db\nrule backends=db")
	s.Connect(a.conn("x/web"))
	if v := s.Reached(at(6, 5)); v.Received != 1 {
		t.Errorf("received %d resources, want the one that changed", v.Received)
	}
}

// TestReplicaThatLagsWithholds: the sidecar has applied a revocation; a replica that does not know of it yet sends nothing.
func TestReplicaThatLagsWithholds(t *testing.T) {
	ca := testca.New(t, "weft.local")
	ahead, lagging := newReplica(t, ca, config(), 1), newReplica(t, ca, config(), 1)
	ahead.publish(at(7, 5), shop+"policy x/p account=web")
	lagging.publish(at(6, 5), shop)
	s := fanouttest.New(t, "x", "web-1")
	s.Connect(ahead.conn("x/web"))
	s.Reached(at(7, 5))
	s.Disconnect()

	s.Connect(lagging.conn("x/web"))
	other := fanouttest.New(t, "x", "db-1")
	other.Connect(lagging.conn("x/db"))
	other.Reached(at(6, 5)) // whoever has seen less is served
	lagging.publish(at(6, 9), shop+"policy x/q account=db")
	other.Reached(at(6, 9))
	if v := s.View(); v.Updates != 0 {
		t.Fatalf("got %d updates from a replica that lags", v.Updates)
	}
	lagging.publish(at(8, 9), shop+"policy x/p account=web\nallow from=db")
	v := s.Reached(at(8, 9))
	if len(v.Held["access"].GetAccess().GetRules()) != 1 {
		t.Errorf("access: %v", v.Held["access"])
	}
}

func TestReplicaThatLagsForLongSendsAway(t *testing.T) {
	ca := testca.New(t, "weft.local")
	cfg := config()
	cfg.CatchUp = time.Millisecond
	ahead, lagging := newReplica(t, ca, config(), 1), newReplica(t, ca, cfg, 1)
	ahead.publish(at(7, 5), shop)
	lagging.publish(at(6, 5), shop)
	s := fanouttest.New(t, "x", "web-1")
	s.Connect(ahead.conn("x/web"))
	s.Reached(at(7, 5))
	s.Disconnect()
	s.Connect(lagging.conn("x/web"))
	if err := s.Ended(); status.Code(err) != codes.Unavailable {
		t.Errorf("want Unavailable, got %v", err)
	}
}

func TestLargeStatesComeInParts(t *testing.T) {
	cfg := config()
	cfg.UpdateBytes = 1
	r := newReplica(t, testca.New(t, "weft.local"), cfg, 0)
	var text strings.Builder
	var names []string
	for i := range 20 {
		fmt.Fprintf(&text, "service x/s%d accounts=a ports=80\nroute x/r%d service=s%d\nrule backends=s%d,s%d\n", i, i, i, i, (i+1)%20)
		names = append(names, fmt.Sprintf("x/s%d", i))
	}
	r.publish(at(1, 1), text.String())
	s := fanouttest.New(t, "x", "job", names...)
	s.Connect(r.conn("x/job"))
	v := s.Reached(at(1, 1))
	if len(v.Held) != 5+40 || len(v.Index) != 20 {
		t.Errorf("holds %d resources and %d services in the index", len(v.Held), len(v.Index))
	}
	if v.Updates < 20 {
		t.Errorf("came in %d updates", v.Updates)
	}
}

func TestDigestComesWithoutChanges(t *testing.T) {
	cfg := config()
	cfg.Digest = time.Millisecond
	r := newReplica(t, testca.New(t, "weft.local"), cfg, 0)
	r.publish(at(1, 1), shop)
	s := fanouttest.New(t, "x", "web-1")
	s.Connect(r.conn("x/web"))
	first := s.Reached(at(1, 1))
	v := s.Until("updates with nothing but a digest", func(v fanouttest.View) bool { return v.Updates > first.Updates+3 })
	if v.Received != first.Received {
		t.Errorf("received %d resources more", v.Received-first.Received)
	}
}

func TestDrainSendsSidecarsAway(t *testing.T) {
	for name, c := range map[string]struct {
		peers int
		told  bool
	}{"to another replica": {1, true}, "nowhere to go": {0, false}} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t, testca.New(t, "weft.local"), config(), c.peers)
			r.publish(at(1, 1), shop)
			s := fanouttest.New(t, "x", "web-1")
			s.Connect(r.conn("x/web"))
			s.Reached(at(1, 1))
			r.server.Stop()
			if err := s.Ended(); status.Code(err) != codes.Unavailable {
				t.Errorf("want Unavailable, got %v", err)
			}
			if told := s.View().Away > 0; told != c.told {
				t.Errorf("told to go away: %v, want %v", told, c.told)
			}
		})
	}
}

func TestBadRequestsEndTheStream(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	r.publish(at(1, 1), shop)
	for name, request := range map[string]*configpb.StreamRequest{
		"open twice":      {Request: &configpb.StreamRequest_Open{Open: &configpb.Open{Namespace: "x", Workload: "web-1"}}},
		"ack of nothing":  {Request: &configpb.StreamRequest_Ack{Ack: &configpb.Ack{Nonce: 99}}},
		"name of nothing": {Request: &configpb.StreamRequest_Subscribe{Subscribe: &configpb.Subscribe{Add: []string{"web"}}}},
		"empty":           {},
	} {
		t.Run(name, func(t *testing.T) {
			s := fanouttest.New(t, "x", "web-1")
			s.Connect(r.conn("x/web"))
			s.Reached(at(1, 1))
			s.Send(request)
			if err := s.Ended(); status.Code(err) != codes.InvalidArgument {
				t.Errorf("want InvalidArgument, got %v", err)
			}
		})
	}
}

func TestNewerStreamReplacesTheOlder(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	r.publish(at(1, 1), shop)
	older, newer := fanouttest.New(t, "x", "web-1"), fanouttest.New(t, "x", "web-1")
	older.Connect(r.conn("x/web"))
	older.Reached(at(1, 1))
	newer.Connect(r.conn("x/web"))
	if err := older.Ended(); status.Code(err) != codes.Aborted {
		t.Errorf("want Aborted, got %v", err)
	}
	r.publish(at(2, 1), shop+"policy x/p account=web")
	newer.Reached(at(2, 1))
	if n := len(r.hub.Sidecars()); n != 1 {
		t.Errorf("%d sidecars", n)
	}
}

func TestStreamsThatCannotBeginEnd(t *testing.T) {
	cfg := config()
	cfg.OpenWait = time.Millisecond
	r := newReplica(t, testca.New(t, "weft.local"), cfg, 0)
	t.Run("no state", func(t *testing.T) {
		s := fanouttest.New(t, "x", "web-1")
		s.Connect(r.conn("x/web"))
		// Which of the two is first is the clock's choice: `open` is late, or there is nothing to serve.
		if code := status.Code(s.Ended()); code != codes.Unavailable && code != codes.InvalidArgument {
			t.Errorf("want Unavailable or InvalidArgument, got %v", code)
		}
	})
	t.Run("no open", func(t *testing.T) {
		stream, err := configpb.NewConfigServiceClient(r.conn("x/web")).Stream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("want InvalidArgument, got %v", err)
		}
	})
}

func TestAddressesAreAnsweredAlways(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	r.publish(at(1, 1), shop)
	s := fanouttest.New(t, "x", "me")
	s.Connect(r.conn("x/job"))
	s.Reached(at(1, 1))
	s.Ask([]string{"10.0.0.2", "192.0.2.9"}, nil)
	v := s.Until("answers", func(v fanouttest.View) bool {
		return v.Held["address/10.0.0.2"] != nil && v.Held["address/192.0.2.9"] != nil
	})
	ports := v.Held["address/10.0.0.2"].GetAddress().GetPorts()
	if len(ports) != 1 || ports[0].GetService() != "x/db" || ports[0].GetEndpoint().GetWorkload() != "db-1" || ports[0].GetEndpoint().GetTargetPort() != 6379 {
		t.Errorf("at 10.0.0.2: %v", ports)
	}
	if ports := v.Held["address/192.0.2.9"].GetAddress().GetPorts(); len(ports) != 0 {
		t.Errorf("outside: %v", ports)
	}
	before := v.Updates
	r.publish(at(1, 2), shop+"workload x/web-2 account=web services=web address=10.0.0.9 mesh=15008 ports=8080")
	r.publish(at(1, 3), shop+"workload x/db-2 account=db services=db address=192.0.2.9 mesh=15008 ports=6379")
	v = s.Until("news of the address", func(v fanouttest.View) bool { return len(v.Held["address/192.0.2.9"].GetAddress().GetPorts()) == 1 })
	if got := v.Updates - before; got > 2 {
		t.Errorf("%d updates", got)
	}
	s.Ask(nil, []string{"192.0.2.9"})
	s.Until("removal", func(v fanouttest.View) bool { return v.Held["address/192.0.2.9"] == nil })
}

func TestAddressesMustBeSpelledShortly(t *testing.T) {
	r := newReplica(t, testca.New(t, "weft.local"), config(), 0)
	r.publish(at(1, 1), shop)
	for _, text := range []string{"web", "::ffff:10.0.0.1", "fe80::1%eth0", "2001:DB8::1"} {
		s := fanouttest.New(t, "x", "me")
		s.Connect(r.conn("x/job"))
		s.Ask([]string{text}, nil)
		if err := s.Ended(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "add_addresses[0]") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}
