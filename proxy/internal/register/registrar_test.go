package register

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/controltest"
	"github.com/weft-mesh/weft/proxy/internal/netspace"
	"github.com/weft-mesh/weft/proxy/internal/uplink"
)

type rig struct {
	*Registrar
	plane *controltest.Plane
	ctx   context.Context
}

func start(t *testing.T, ports ...uint16) *rig {
	t.Helper()
	plane := controltest.New(t)
	source := plane.CA.Source(t, spiffe.Account{Namespace: "default", Name: "reviews"})
	connect, err := uplink.SPIFFE(source, plane.CA.TrustDomain(), "discovery")
	if err != nil {
		t.Fatal(err)
	}
	link, err := uplink.New(uplink.Config{Service: "discovery", Addresses: plane.Addresses().Discovery, Connect: connect}, zaptest.NewLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	w := &discoverypb.Workload{
		Metadata: &typepb.ObjectMeta{Namespace: "default", Name: "reviews-1"},
		Spec:     &discoverypb.WorkloadSpec{Services: []string{"reviews"}},
	}
	var probes []Probe
	for _, p := range ports {
		probes = append(probes, Probe{Port: p, Ready: Accepts(netspace.Own().Dial)})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	r := &rig{Registrar: New(Config{Workload: w, Probes: probes}, link, zaptest.NewLogger(t)), plane: plane, ctx: ctx}
	run, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(run) }()
	t.Cleanup(func() {
		end()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		cancel()
	})
	return r
}

func (r *rig) registered(t *testing.T, there bool) {
	t.Helper()
	if _, err := r.plane.Discovery.Await(r.ctx, "default/reviews-1", there); err != nil {
		t.Fatalf("registered %v: %v", there, err)
	}
}

// TestD4_RegisteredOnceTheAppAnswers: not before, and from then on with heartbeats.
func TestD4_RegisteredOnceTheAppAnswers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(ln.Addr().(*net.TCPAddr).Port)
	ln.Close()
	r := start(t, port)
	if s := r.Status(); s.AppReady || s.Registered {
		t.Errorf("before the app: %+v", s)
	}
	ln, err = net.Listen("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	r.registered(t, true)
	if err := r.plane.Discovery.AwaitHeartbeats(r.ctx, 3); err != nil {
		t.Errorf("heartbeats: %v", err)
	}
	if s := r.Status(); !s.AppReady || !s.Registered || s.Revision.GetSeq() != 1 {
		t.Errorf("status: %+v", s)
	}
}

func TestReconnectRegistersAgain(t *testing.T) {
	r := start(t)
	r.registered(t, true)
	r.plane.Stop()
	r.plane.Discovery.Forget("default/reviews-1")
	r.plane.Start()
	r.registered(t, true)
}

func TestDeregisterIsFinal(t *testing.T) {
	r := start(t)
	r.registered(t, true)
	revision, err := r.Deregister(r.ctx)
	if err != nil || revision.GetSeq() != 2 {
		t.Fatalf("Deregister: %v, %v", revision, err)
	}
	r.registered(t, false)
	again, err := r.Deregister(r.ctx)
	if err != nil || again.GetSeq() != 2 {
		t.Errorf("second Deregister: %v, %v", again, err)
	}
	r.plane.Stop()
	r.plane.Start()
	if s := r.Status(); s.Registered || !s.Gone {
		t.Errorf("status: %+v", s)
	}
}

// TestDeregisterIsNoLoss: discovery ends the stream of a workload that is taken out before it answers the call that does it.
func TestDeregisterIsNoLoss(t *testing.T) {
	r := start(t)
	r.registered(t, true)
	r.plane.Discovery.AnswerDeregisterAfter(100 * time.Millisecond)
	if revision, err := r.Deregister(r.ctx); err != nil || revision.GetSeq() != 2 {
		t.Fatalf("Deregister: %v, %v", revision, err)
	}
	if s := r.Link(); s.Err != "" {
		t.Errorf("the end of the stream was taken for a loss: %q", s.Err)
	}
}

func TestDeregisterOfWhatWasNeverRegistered(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(ln.Addr().(*net.TCPAddr).Port)
	ln.Close()
	r := start(t, port)
	if revision, err := r.Deregister(r.ctx); revision != nil || err != nil {
		t.Errorf("want nothing, got %v, %v", revision, err)
	}
}

func TestDeregisterWithoutDiscoverySaysSo(t *testing.T) {
	r := start(t)
	r.registered(t, true)
	r.plane.Stop()
	for {
		_, err := r.Deregister(r.ctx)
		if errors.Is(err, errAway) || err != nil && strings.Contains(err.Error(), "deregister") {
			return
		}
		if r.ctx.Err() != nil {
			t.Fatalf("want an error, got %v", err)
		}
	}
}

func TestRefusalIsShown(t *testing.T) {
	r := start(t)
	r.registered(t, true)
	r.plane.Stop()
	r.plane.Discovery.Refuse("service \"reviews\" does not allow account \"mallory\"")
	r.plane.Start()
	for r.Status().Err == "" {
		if r.ctx.Err() != nil {
			t.Fatal("the refusal was not shown")
		}
		tick, cancel := context.WithTimeout(r.ctx, 5*time.Millisecond)
		<-tick.Done()
		cancel()
	}
	if got := r.Status().Err; !strings.Contains(got, "mallory") {
		t.Errorf("refusal: %q", got)
	}
}
