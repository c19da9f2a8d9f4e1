package discovery

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
)

func TestRegister(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := r.start("a")
		d.service("reviews", "reviews")
		s := d.connect("reviews", workload("reviews-1", "reviews"))
		if len(s.answers) != 1 {
			t.Fatalf("want one answer, got %v (%v)", s.answers, s.err)
		}
		a := s.answers[0]
		w := a.GetWorkload()
		if w.GetSpec().GetAccount() != "reviews" || w.GetMetadata().GetNamespace() != "default" || w.GetStatus().GetLeaseHolder() != "a" || w.GetStatus().GetState() != ready {
			t.Errorf("account, namespace, holder and state come from discovery, got %v", w)
		}
		if a.GetRevision().GetSeq() == 0 || a.GetLease().AsDuration() != 10*time.Second || a.GetHeartbeatInterval().AsDuration() != 3*time.Second {
			t.Errorf("want a revision and the times of the lease, got %v", a)
		}
	})
}

func TestRegisterRefuses(t *testing.T) {
	spec := func(change func(*discoverypb.Workload)) *discoverypb.Workload {
		w := workload("w", "reviews")
		change(w)
		return w
	}
	for _, tc := range []struct {
		name    string
		account string
		w       *discoverypb.Workload
		kind    fault.Kind
		parts   []string
	}{
		{"a service that does not exist", "reviews", workload("w", "ratings"), fault.Denied, []string{`"default/ratings"`, `"reviews"`}},
		{"an account that the service does not admit", "ratings", workload("w", "reviews"), fault.Denied, []string{`"default/reviews"`, `"ratings"`, "admits reviews, blue/x"}},
		{"an account of another namespace", "blue/x", workload("w", "reviews"), fault.Denied, []string{`"blue/reviews"`}},
		{"another namespace", "reviews", spec(func(w *discoverypb.Workload) { w.Metadata.Namespace = "blue" }), fault.Denied, []string{`"blue"`, `"default"`}},
		{"another account", "reviews", spec(func(w *discoverypb.Workload) { w.Spec.Account = "ratings" }), fault.Denied, []string{`"ratings"`}},
		{"another account's workload", "ratings", workload("taken"), fault.Denied, []string{`"default/taken"`, `"reviews"`, `"ratings"`}},
		{"an administrator's workload", "reviews", workload("made"), fault.Denied, []string{"an administrator"}},
		{"no address", "reviews", spec(func(w *discoverypb.Workload) { w.Spec.Address = "" }), fault.Invalid, []string{"spec.address"}},
		{"a bad port", "reviews", spec(func(w *discoverypb.Workload) { w.Spec.MeshPort = 70000 }), fault.Invalid, []string{"spec.meshPort"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				d := r.start("a")
				d.service("reviews", "reviews", "blue/x")
				d.connect("reviews", workload("taken"))
				made := workload("made")
				made.Spec.Account = "reviews"
				if _, err := d.CreateWorkload(t.Context(), &discoverypb.CreateWorkloadRequest{Workload: made}); err != nil {
					t.Fatal(err)
				}
				s := d.connect(tc.account, tc.w)
				if !s.ended() || len(s.answers) != 0 {
					t.Fatalf("want the stream ended, got answers %v", s.answers)
				}
				wantFault(t, s.err, tc.kind, tc.parts...)
				if got := d.endpoints("reviews"); len(got) != 0 {
					t.Errorf("want no endpoint, got %v", got)
				}
			})
		})
	}
}

func TestRegisterProtocol(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := r.start("a")
		s := d.connect("reviews", nil)
		s.heartbeat()
		wantFault(t, s.err, fault.Invalid, "first message")
		s = d.connect("reviews", workload("one"))
		s.say(&discoverypb.RegisterRequest{Request: &discoverypb.RegisterRequest_Workload{Workload: workload("two")}})
		wantFault(t, s.err, fault.Invalid, "metadata.name", "one")
		s = d.connect("reviews", workload("three"))
		s.say(&discoverypb.RegisterRequest{})
		wantFault(t, s.err, fault.Invalid)
		s = d.connect("reviews", workload("four"))
		close(s.in)
		<-s.done
		if s.err != nil {
			t.Errorf("a client that ends its stream: want no error, got %v", s.err)
		}
	})
}

// Row C7: registering again, here or after a reconnect, makes no revision while nothing differs.
func TestC7_SameRegistrationMakesNoRevision(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := r.start("a")
		d.service("reviews", "reviews")
		s := d.connect("reviews", workload("reviews-1", "reviews")).beat()
		first := s.answers[0].GetRevision().GetSeq()
		s.say(&discoverypb.RegisterRequest{Request: &discoverypb.RegisterRequest_Workload{Workload: workload("reviews-1", "reviews")}})
		pass(time.Minute)
		s.hangUp()
		pass(5 * time.Second)
		again := d.connect("reviews", workload("reviews-1", "reviews"))
		got := []uint64{s.answers[1].GetRevision().GetSeq(), again.answers[0].GetRevision().GetSeq()}
		if diff := cmp.Diff([]uint64{first, first}, got); diff != "" {
			t.Errorf("revisions (-want +got):\n%s", diff)
		}
	})
}

// Row D1: an endpoint is there when its registration is answered and gone when its deregistration is, on every replica.
func TestD1_EndpointsAppearAndVanishAtOnce(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := r.start("a"), r.start("b")
		a.service("reviews", "reviews")
		for i, d := range []*replica{a, b} {
			s := d.connect("reviews", workload("reviews-"+d.name, "reviews"))
			if got := b.endpoints("reviews"); len(got) != i+1 || len(s.answers) != 1 {
				t.Errorf("want %d endpoints, got %v", i+1, got)
			}
		}
		gone, err := b.Deregister(as(t.Context(), "reviews"), &discoverypb.DeregisterRequest{Name: "reviews-a"})
		if err != nil || gone.GetRevision().GetSeq() == 0 {
			t.Fatalf("want a revision, got %v, %v", gone, err)
		}
		if diff := cmp.Diff([]string{"reviews-b"}, a.endpoints("reviews")); diff != "" {
			t.Errorf("endpoints (-want +got):\n%s", diff)
		}
	})
}

func TestDeregisterIsForOnesOwn(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := r.start("a")
		d.connect("reviews", workload("reviews-1"))
		_, err := d.Deregister(as(t.Context(), "ratings"), &discoverypb.DeregisterRequest{Name: "reviews-1"})
		wantFault(t, err, fault.Denied, `"reviews"`)
		_, err = d.Deregister(as(t.Context(), "blue/reviews"), &discoverypb.DeregisterRequest{Name: "reviews-1"})
		wantFault(t, err, fault.NotFound)
	})
}

// A live sidecar whose workload an administrator deletes learns of it and registers again.
func TestDeletedWorkloadEndsItsStream(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := r.start("a")
		s := d.connect("reviews", workload("reviews-1")).beat()
		if _, err := d.DeleteWorkload(t.Context(), &discoverypb.DeleteWorkloadRequest{Name: "reviews-1"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !s.ended() {
			t.Fatal("want the stream ended")
		}
		wantFault(t, s.err, fault.Unavailable, "register again")
	})
}
