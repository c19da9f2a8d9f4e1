package intake_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
)

func TestNothingBeforeAllSourcesAreComplete(t *testing.T) {
	run(t, func(r *rig) {
		p, d := <-r.sources.Policy.Opened, <-r.sources.Discovery.Opened
		<-r.sources.Identity.Opened
		p.Send(policyStep(true, 10))
		first := catalogue(20, "web")
		first.Complete = false
		d.Send(first)
		if w := r.settled(); w != nil {
			t.Fatalf("got a world with services %v", w.Services)
		}
		if err := r.intake.Ready(); err == nil || err.Error() != "no complete state yet from discovery, identity" {
			t.Errorf("Ready: %v", err)
		}
	})
}

func TestWorldHoldsWhatTheSourcesSay(t *testing.T) {
	run(t, func(r *rig) {
		p, d, i := r.begin()
		w := r.settled()
		if w.Routes[key("r")] == nil || w.Services[key("web")] == nil || string(w.Bundle.Authorities[0]) != "one" {
			t.Fatalf("world: %+v", w)
		}
		if w.Vector.Policy.Seq != 10 || w.Vector.Discovery.Seq != 20 || w.Vector.Identity.Seq != 30 {
			t.Errorf("vector: %+v", w.Vector)
		}
		if err := r.intake.Ready(); err != nil {
			t.Errorf("Ready: %v", err)
		}
		p.Send(policyStep(false, 11, route("s", "web"), gone(model.KindRoute, "r")))
		d.Send(catalogue(21))
		i.Send(bundle(31, "two"))
		now := r.settled()
		if now.Routes[key("r")] != nil || now.Routes[key("s")] == nil || len(now.Services) != 0 || string(now.Bundle.Authorities[0]) != "two" {
			t.Errorf("world: %+v", now)
		}
		if w.Routes[key("r")] == nil || len(w.Services) != 1 {
			t.Error("the world that was handed out before has been written")
		}
	})
}

func TestC7_ChangesThatComeTogetherAreOneWorld(t *testing.T) {
	run(t, func(r *rig) {
		p, _, _ := r.begin()
		r.settled()
		before := len(r.worlds)
		for seq := range uint64(100) {
			p.Send(policyStep(false, 11+seq, route("r", "web")))
		}
		w := r.settled()
		if n := len(r.worlds) - before; n != 1 || w.Vector.Policy.Seq != 110 {
			t.Errorf("%d worlds, the last at %v", n, w.Vector.Policy)
		}
		// Noise that never ends is cut after the longest wait: 100 steps, one every 2 ms, are about four worlds.
		before = len(r.worlds)
		for seq := range uint64(100) {
			p.Send(policyStep(false, 111+seq, route("r", "web")))
			<-time.After(2 * time.Millisecond)
		}
		r.settled()
		if n := len(r.worlds) - before; n < 3 || n > 5 {
			t.Errorf("%d worlds from a noisy source", n)
		}
	})
}

func TestLostSourceResumesAndKeepsItsState(t *testing.T) {
	run(t, func(r *rig) {
		p, _, _ := r.begin()
		r.settled()
		half := policyStep(false, 11, gone(model.KindRoute, "r"))
		half.Complete = false
		p.Send(half)
		p.Cut()
		again := <-r.sources.Policy.Opened
		if again.After.GetSeq() != 10 || again.After.GetEpoch() != "e" {
			t.Errorf("resumes from %v, want the last complete revision", again.After)
		}
		if w := r.settled(); w.Routes[key("r")] == nil {
			t.Error("half a step was applied")
		}
		again.Send(policyStep(false, 12, route("s", "web")))
		if w := r.settled(); w.Routes[key("r")] == nil || w.Routes[key("s")] == nil {
			t.Errorf("routes: %v", w.Routes)
		}
		if r.counts.resets["policy"] != 0 || !r.counts.connected["policy"] {
			t.Errorf("counts: %+v", r.counts)
		}
	})
}

func TestResetReplacesEverything(t *testing.T) {
	run(t, func(r *rig) {
		p, _, _ := r.begin()
		r.settled()
		first := policyStep(true, 0, route("s", "web"))
		first.Complete, first.Revision = false, nil
		p.Send(first)
		p.Send(policyStep(false, 50, route("u", "web")))
		w := r.settled()
		if len(w.Routes) != 2 || w.Routes[key("r")] != nil || len(w.Services) != 1 {
			t.Errorf("routes %v, services %v", w.Routes, w.Services)
		}
		if r.counts.resets["policy"] != 1 {
			t.Errorf("resets: %v", r.counts.resets)
		}
	})
}

// TestSourceThatGoesBackwardsIsLeft: an old state of the same epoch is not taken; another epoch is, with a reset.
func TestSourceThatGoesBackwardsIsLeft(t *testing.T) {
	run(t, func(r *rig) {
		p, _, i := r.begin()
		r.settled()
		p.Send(policyStep(true, 9))
		p = <-r.sources.Policy.Opened
		i.Send(bundle(29, "old"))
		i = <-r.sources.Identity.Opened
		if w := r.settled(); w.Routes[key("r")] == nil || w.Vector.Policy.Seq != 10 || string(w.Bundle.Authorities[0]) != "one" {
			t.Errorf("went backwards to %+v", w)
		}
		restored := policyStep(true, 3, route("s", "web"))
		restored.Revision.Epoch = "after-restore"
		p.Send(restored)
		i.Send(bundle(30, "one"))
		if w := r.settled(); w.Routes[key("r")] != nil || w.Vector.Policy.Epoch != "after-restore" {
			t.Errorf("another epoch was not taken: %+v", w.Vector)
		}
	})
}

// TestC10_UnreadableObjectHurtsOnlyItself: the last good state of it stays, and an access policy that was never understood
// lets nobody pass.
func TestC10_UnreadableObjectHurtsOnlyItself(t *testing.T) {
	run(t, func(r *rig) {
		p, _, _ := r.begin()
		fine := &policypb.HttpMatch{Methods: []string{"GET"}}
		bad := &policypb.HttpMatch{Path: &typepb.PathMatch{}}
		p.Send(policyStep(false, 11, access("old", fine)))
		r.settled()
		p.Send(policyStep(false, 12, access("old", bad), access("new", bad), route("s", "web"), &policypb.Change{}))
		w := r.settled()
		if got := w.Policies[key("old")]; len(got.Allow) != 1 || !slices.Equal(got.Allow[0].To[0].Methods, []string{"GET"}) {
			t.Errorf("policy that was readable before: %+v", got)
		}
		if got := w.Policies[key("new")]; got == nil || got.Account != "new" || len(got.Allow) != 0 {
			t.Errorf("policy that was never readable: %+v", got)
		}
		if w.Routes[key("s")] == nil {
			t.Error("the route beside them is missing")
		}
		if r.counts.rejected[model.KindAccessPolicy] != 2 {
			t.Errorf("rejected: %v", r.counts.rejected)
		}
		// The last good state also survives a reset that brings the object unreadable.
		p.Send(policyStep(true, 13, access("old", bad)))
		if got := r.settled().Policies[key("old")]; got == nil || len(got.Allow) != 1 {
			t.Errorf("after a reset: %+v", got)
		}
	})
}

func TestSourceThatIsDownIsAskedAgainWithPauses(t *testing.T) {
	run(t, func(r *rig) {
		started := time.Now()
		go func() { // the others never answer; they end with the run
			<-r.sources.Discovery.Opened
			<-r.sources.Identity.Opened
		}()
		for range 20 {
			(<-r.sources.Policy.Opened).Cut()
		}
		synctest.Wait()
		if took := time.Since(started); took < time.Second {
			t.Errorf("asked 20 times within %s", took)
		}
		w := <-r.sources.Policy.Opened
		w.Send(policyStep(true, 1))
		_ = r.settled()
		if w.After != nil {
			t.Errorf("resumes from %v with nothing held", w.After)
		}
	})
}
