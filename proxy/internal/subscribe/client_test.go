package subscribe

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/proxy/internal/snapshot"
	"github.com/weft-mesh/weft/proxy/internal/statedir"
	"github.com/weft-mesh/weft/proxy/internal/subscribe/subscribetest"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/uplink"
)

// rig is a client with its replicas and state directory, inside a synctest bubble.
type rig struct {
	*Client
	t        *testing.T
	holder   *table.Holder
	replicas []*subscribetest.Server
	stop     func()
}

func start(t *testing.T, dir string, replicas int, services ...string) *rig {
	t.Helper()
	r := &rig{t: t, holder: &table.Holder{}}
	var addresses []string
	for i := range replicas {
		r.replicas = append(r.replicas, subscribetest.New(t))
		addresses = append(addresses, fmt.Sprint(i))
	}
	link, err := uplink.New(uplink.Config{Service: "distributor", Addresses: addresses, Connect: func(address string) (*grpc.ClientConn, error) {
		return r.replicas[address[0]-'0'].Connect()
	}}, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	state, err := statedir.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	owner := snapshot.Owner{TrustDomain: spiffeid.RequireTrustDomainFromString("weft.local"), Namespace: "default", Workload: "web-1"}
	r.Client = New(Config{Owner: owner, Services: services, MaxAge: time.Hour}, Deps{
		Link: link, Dir: state, Holder: r.holder, Log: zaptest.NewLogger(t),
		OnBundle: func(*x509bundle.Bundle, *typepb.SourceRevision) {},
		Expiry:   func() time.Time { return time.Time{} },
	})
	if err := r.Restore(); err != nil {
		t.Fatalf("Restore: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		state.Close()
	}
	return r
}

// next waits for a stream on any of the replicas.
func (r *rig) next() *subscribetest.Stream {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if len(r.replicas) == 1 {
		return r.replicas[0].Next(ctx)
	}
	found := make(chan *subscribetest.Stream, len(r.replicas))
	for _, s := range r.replicas {
		go func() {
			if st := s.Try(ctx); st != nil {
				found <- st
				cancel()
			}
		}()
	}
	select {
	case st := <-found:
		synctest.Wait()
		return st
	case <-time.After(2 * time.Minute):
		r.t.Fatal("no client opened a stream")
		return nil
	}
}

func resource(name, version string) *configpb.Resource {
	r := &configpb.Resource{Name: name, Version: version}
	switch name {
	case "mesh":
		r.Body = &configpb.Resource_Mesh{Mesh: &configpb.Mesh{TrustDomain: "weft.local", Mtls: typepb.MtlsMode_MTLS_MODE_PERMISSIVE}}
	case "access":
		r.Body = &configpb.Resource_Access{Access: &configpb.Access{Open: true}}
	default:
		service := snapshot.ServiceOf(name)
		r.Body = &configpb.Resource_Service{Service: &configpb.Service{Name: service}}
	}
	return r
}

func digest(versions map[string]string) []byte {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		fmt.Fprintf(h, "%s\x00%s\n", name, versions[name])
	}
	return h.Sum(nil)[:8]
}

func policy(seq uint64) *typepb.RevisionVector {
	return &typepb.RevisionVector{Revisions: []*typepb.SourceRevision{{Source: typepb.Source_SOURCE_POLICY, Epoch: "e", Seq: seq}}}
}

func first() *configpb.Update {
	return &configpb.Update{
		Resources: []*configpb.Resource{resource("mesh", "m1"), resource("access", "a1")}, Vector: policy(5), Current: true,
		Digest: digest(map[string]string{"mesh": "m1", "access": "a1"}),
	}
}

func TestTableIsThereWhenTheAckIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), 1, "default/reviews")
		defer r.stop()
		st := r.next()
		if diff := cmp.Diff([]string{"default/reviews"}, st.Open.GetServices()); diff != "" {
			t.Errorf("services (-want +got):\n%s", diff)
		}
		if ack := st.Update(&configpb.Update{Resources: []*configpb.Resource{resource("mesh", "m1")}}); ack.GetNonce() != 1 {
			t.Errorf("nonce: %d", ack.GetNonce())
		}
		if r.holder.Load() != nil {
			t.Error("a table was made before everything had arrived: without access rules it denies")
		}
		st.Update(&configpb.Update{Resources: []*configpb.Resource{resource("access", "a1")}, Removed: []string{"service/default/reviews"}, Current: true})
		tab := r.holder.Load()
		if tab == nil || tab.Access == nil || !tab.Access.Open {
			t.Fatalf("table after the ack: %+v", tab)
		}
		select {
		case <-r.Want("default/reviews"):
		default:
			t.Error("the answer that a service does not exist was not handed on")
		}
	})
}

// TestR3_WhoHasNotHeardIsServed: the configuration of a workload that was deregistered is empty, and must not make its sidecar
// refuse callers that have not heard of it.
func TestR3_WhoHasNotHeardIsServed(t *testing.T) {
	inbound := func(version string, ports ...uint32) *configpb.Resource {
		in := &configpb.Inbound{Namespace: "default", Account: "web", Workload: "web-1"}
		for _, p := range ports {
			in.Ports = append(in.Ports, &configpb.InboundPort{Service: "default/web", TargetPort: p})
		}
		return &configpb.Resource{Name: "inbound", Version: version, Body: &configpb.Resource_Inbound{Inbound: in}}
	}
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), 1)
		defer r.stop()
		st := r.next()
		for i, step := range []struct {
			sent *configpb.Update
			want uint16
		}{
			{&configpb.Update{Resources: []*configpb.Resource{inbound("1", 8080)}, Current: true}, 8080},
			{&configpb.Update{Resources: []*configpb.Resource{inbound("2")}, Current: true}, 8080},
			{&configpb.Update{Removed: []string{"inbound"}, Current: true}, 8080},
			{&configpb.Update{Resources: []*configpb.Resource{inbound("3", 9090)}, Current: true}, 9090},
		} {
			st.Update(step.sent)
			if got := r.holder.Load().Inbound; got == nil || len(got.Ports) != 1 || got.Ports[0].TargetPort != step.want {
				t.Errorf("step %d: inbound %+v, want port %d", i, got, step.want)
			}
		}
	})
}

func TestWantSubscribesOnceAndIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), 1)
		defer r.stop()
		st := r.next()
		st.Update(first())
		answered := r.Want("default/ratings")
		r.Want("default/ratings")
		if diff := cmp.Diff([]string{"default/ratings"}, st.Next().GetSubscribe().GetAdd()); diff != "" {
			t.Errorf("subscribed (-want +got):\n%s", diff)
		}
		select {
		case <-answered:
			t.Error("answered before the distributor did")
		default:
		}
		st.Update(&configpb.Update{Resources: []*configpb.Resource{resource("service/default/ratings", "1")}})
		<-answered
		if r.holder.Load().Services["default/ratings"] == nil {
			t.Error("answered, but the table has no body")
		}
	})
}

func TestAcksComeInOrderWithTheirNacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), 1)
		defer r.stop()
		st := r.next()
		st.Update(first())
		for i := range 5 {
			st.Send(&configpb.Update{Resources: []*configpb.Resource{{Name: "access", Version: fmt.Sprint("bad", i)}, resource("mesh", fmt.Sprint(i))}})
		}
		for i := range 5 {
			ack := st.Ack()
			if ack.GetNonce() != uint64(i+2) || len(ack.GetNacks()) != 1 || ack.GetNacks()[0].GetVersion() != fmt.Sprint("bad", i) {
				t.Errorf("ack %d: %v", i, ack)
			}
		}
		if a := r.holder.Load().Access; a == nil || !a.Open {
			t.Error("the last good access rules did not stay")
		}
	})
}

func TestReconnectResumesWithWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), 2)
		defer r.stop()
		st := r.next()
		st.Update(first())
		before := r.holder.Load()
		st.End(status.Error(codes.Unavailable, "going down"))
		again := r.next()
		if diff := cmp.Diff(map[string]string{"mesh": "m1", "access": "a1"}, again.Open.GetInitialVersions()); diff != "" {
			t.Errorf("initial versions (-want +got):\n%s", diff)
		}
		if got := again.Open.GetApplied().GetRevisions(); len(got) != 1 || got[0].GetSeq() != 5 {
			t.Errorf("applied: %v", got)
		}
		if r.holder.Load() != before {
			t.Error("the table changed although nothing was sent")
		}
		// A replica that lags would lead backwards: it is left, and nothing of its update is applied.
		behind := first()
		behind.Vector, behind.Resources = policy(4), []*configpb.Resource{resource("mesh", "old")}
		again.Send(behind)
		again.Ended()
		if got := r.next().Open.GetInitialVersions()["mesh"]; got != "m1" {
			t.Errorf("mesh after a lagging replica: %q", got)
		}
	})
}

func TestDigestMismatchReopens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), 1)
		defer r.stop()
		st := r.next()
		st.Update(first())
		st.Update(&configpb.Update{Digest: []byte("12345678")})
		st.Ended()
		again := r.next()
		if len(again.Open.GetInitialVersions()) != 2 {
			t.Errorf("initial versions: %v", again.Open.GetInitialVersions())
		}
		again.Update(first())
		if got := r.Status(); got.Reopened != 1 || !got.Current || !got.Link.Connected {
			t.Errorf("status: %+v", got)
		}
	})
}

// TestRefusalIsNoLoss: what was refused counts as sent on its stream and as never sent on the next.
func TestRefusalIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), 1)
		defer r.stop()
		st := r.next()
		bad := first()
		bad.Resources = append(bad.Resources, &configpb.Resource{Name: "strange", Version: "1"})
		bad.Digest = digest(map[string]string{"mesh": "m1", "access": "a1", "strange": "1"})
		if ack := st.Update(bad); len(ack.GetNacks()) != 1 {
			t.Errorf("nacks: %v", ack.GetNacks())
		}
		st.End(errors.New("gone"))
		again := r.next()
		again.Update(&configpb.Update{Current: true, Digest: digest(map[string]string{"mesh": "m1", "access": "a1"})})
		synctest.Wait()
		if got := r.Status(); got.Reopened != 0 {
			t.Errorf("the stream was reopened %d times", got.Reopened)
		}
	})
}

func TestGoAwayMovesWithinTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), 2)
		defer r.stop()
		st := r.next()
		st.Update(first())
		begin := time.Now()
		st.GoAway(10 * time.Second)
		// Until it moves, the client still takes what comes.
		st.Update(&configpb.Update{Resources: []*configpb.Resource{resource("mesh", "m2")}})
		again := r.next()
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("moved after %v", took)
		}
		if got := again.Open.GetInitialVersions()["mesh"]; got != "m2" {
			t.Errorf("mesh on the new replica: %q", got)
		}
		again.Update(&configpb.Update{Current: true})
	})
}

func TestSilentReplicaIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), 2)
		defer r.stop()
		st := r.next()
		st.Update(first())
		begin := time.Now()
		st.Ended()
		if waited := time.Since(begin); waited != silence {
			t.Errorf("left after %v, want %v", waited, silence)
		}
		r.next().Update(&configpb.Update{Current: true})
	})
}

// TestC16_RestartServesWithoutControlPlane: the table of the process before is there before any control plane is.
func TestC16_RestartServesWithoutControlPlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := start(t, dir, 1, "default/reviews")
		st := r.next()
		u := first()
		u.Resources = append(u.Resources, resource("service/default/reviews", "1"))
		u.Digest = nil
		st.Update(u)
		r.Want("default/called-later")
		st.Next()
		r.stop()

		again := start(t, dir, 1)
		defer again.stop()
		again.replicas[0].SetDown(true)
		tab := again.holder.Load()
		if tab == nil || tab.Services["default/reviews"] == nil || tab.Access == nil {
			t.Fatalf("table after a restart: %+v", tab)
		}
		<-time.After(time.Minute) // of the bubble: the control plane stays away
		again.replicas[0].SetDown(false)
		open := again.next().Open
		if diff := cmp.Diff([]string{"default/called-later", "default/reviews"}, open.GetServices()); diff != "" {
			t.Errorf("working set (-want +got):\n%s", diff)
		}
		if open.GetInitialVersions()["service/default/reviews"] != "1" || open.GetApplied().GetRevisions()[0].GetSeq() != 5 {
			t.Errorf("open: %v", open)
		}
	})
}

func TestDamagedSnapshotIsRefusedReadably(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := start(t, dir, 1)
		r.next().Update(first())
		r.stop()
		state, err := statedir.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer state.Close()
		if err := state.Write(statedir.Snapshot, []byte("rubbish")); err != nil {
			t.Fatal(err)
		}
		c := New(r.cfg, r.deps)
		c.deps.Dir = state
		if err := c.Restore(); !errors.Is(err, snapshot.ErrCorrupt) {
			t.Errorf("want %v, got %v", snapshot.ErrCorrupt, err)
		}
	})
}
