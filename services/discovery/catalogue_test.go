package discovery

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
)

func TestServiceLife(t *testing.T) {
	inBubble(t, func(r *rig) {
		ctx, a, b := t.Context(), r.start("a"), r.start("b")
		created := a.service("reviews", "reviews")
		_, err := b.CreateService(ctx, &discoverypb.CreateServiceRequest{Service: created})
		wantFault(t, err, fault.Exists)

		created.Spec.Ports[0].TargetPort = 8080
		updated, err := b.UpdateService(ctx, &discoverypb.UpdateServiceRequest{Service: created})
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.UpdateService(ctx, &discoverypb.UpdateServiceRequest{Service: created})
		wantFault(t, err, fault.Conflict)
		got, err := a.GetService(ctx, &discoverypb.GetServiceRequest{Name: "reviews"})
		if err != nil || !proto.Equal(updated.GetService(), got.GetService()) {
			t.Errorf("want %v, got %v, %v", updated, got, err)
		}
		_, err = a.DeleteService(ctx, &discoverypb.DeleteServiceRequest{Name: "reviews", Etag: "old"})
		wantFault(t, err, fault.Conflict)
		if _, err = a.DeleteService(ctx, &discoverypb.DeleteServiceRequest{Name: "reviews", Etag: got.GetService().GetMetadata().GetEtag()}); err != nil {
			t.Error(err)
		}
		_, err = b.ListEndpoints(ctx, &discoverypb.ListEndpointsRequest{Service: "reviews"})
		wantFault(t, err, fault.NotFound)
	})
}

func TestWorkloadOfAnAdministrator(t *testing.T) {
	inBubble(t, func(r *rig) {
		ctx, d := t.Context(), r.start("a")
		d.service("reviews", "other")
		w := workload("vm-1", "reviews", "ratings")
		w.Spec.Account = "reviews"
		w.Status = &discoverypb.WorkloadStatus{State: unknown, LeaseHolder: "x"} // output only
		created, err := d.CreateWorkload(ctx, &discoverypb.CreateWorkloadRequest{Workload: w})
		if err != nil {
			t.Fatal(err)
		}
		if s := created.GetWorkload().GetStatus(); s.GetState() != ready || s.GetLeaseHolder() != "" {
			t.Errorf("want READY without a lease, got %v", s)
		}
		var warned []string
		for _, w := range created.GetWarnings() {
			warned = append(warned, w.GetField())
		}
		if diff := cmp.Diff([]string{"spec.services[0]", "spec.services[1]"}, warned); diff != "" {
			t.Errorf("warnings (-want +got):\n%s", diff)
		}
		created.Workload.Spec.Address = "10.0.0.2"
		if _, err := d.UpdateWorkload(ctx, &discoverypb.UpdateWorkloadRequest{Workload: created.GetWorkload()}); err != nil {
			t.Error(err)
		}
		list, err := d.ListWorkloads(ctx, &discoverypb.ListWorkloadsRequest{Namespace: "default"})
		if err != nil || len(list.GetWorkloads()) != 1 || list.GetWorkloads()[0].GetSpec().GetAddress() != "10.0.0.2" {
			t.Errorf("want the new address, got %v, %v", list, err)
		}
		if _, err := d.DeleteWorkload(ctx, &discoverypb.DeleteWorkloadRequest{Name: "vm-1"}); err != nil {
			t.Error(err)
		}
	})
}

// Row C3: one service maps to all its instances, and two services that share them do not disturb each other.
func TestC3_OneServiceManyInstances(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := r.start("a")
		d.service("web", "shop")
		d.service("admin", "shop")
		for _, name := range []string{"shop-1", "shop-2", "shop-3"} {
			d.connect("shop", workload(name, "web", "admin"))
		}
		d.connect("shop", workload("shop-4", "admin"))
		if diff := cmp.Diff([]string{"shop-1", "shop-2", "shop-3"}, d.endpoints("web")); diff != "" {
			t.Errorf("web (-want +got):\n%s", diff)
		}
		if _, err := d.DeleteService(t.Context(), &discoverypb.DeleteServiceRequest{Name: "web"}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"shop-1", "shop-2", "shop-3", "shop-4"}, d.endpoints("admin")); diff != "" {
			t.Errorf("admin, after web is gone (-want +got):\n%s", diff)
		}
	})
}

// watching is the server's side of a watch.
type watching struct {
	grpc.ServerStream
	ctx  context.Context
	sent []*discoverypb.WatchResponse
}

func (w *watching) Context() context.Context { return w.ctx }
func (w *watching) Send(m *discoverypb.WatchResponse) error {
	w.sent = append(w.sent, m)
	return nil
}

// watch runs a watch until the returned function is called.
func (r *replica) watch(w *watching, req *discoverypb.WatchRequest) (stop func()) {
	ctx, cancel := context.WithCancel(r.rig.t.Context())
	w.ctx = ctx
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Watch(req, w); !errors.Is(err, context.Canceled) {
			r.rig.t.Errorf("watch ended with %v", err)
		}
	}()
	synctest.Wait()
	return func() { cancel(); <-done }
}

// A watch that is taken up at another replica goes on where it ended.
func TestWatchResumesAtAnotherReplica(t *testing.T) {
	inBubble(t, func(r *rig) {
		a, b := r.start("a"), r.start("b")
		service := a.service("reviews", "reviews")
		synctest.Wait()
		first := &watching{}
		stop := a.watch(first, &discoverypb.WatchRequest{})
		stop()
		if len(first.sent) != 1 || !first.sent[0].GetReset_() || !proto.Equal(first.sent[0].GetChanges()[0].GetService(), service) {
			t.Fatalf("want a reset with the service, got %v", first.sent)
		}
		s := a.connect("reviews", workload("reviews-1", "reviews"))
		if _, err := a.Deregister(as(t.Context(), "reviews"), &discoverypb.DeregisterRequest{Name: "reviews-1"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		second := &watching{}
		defer b.watch(second, &discoverypb.WatchRequest{ResumeFrom: first.sent[0].GetRevision()})()
		if len(second.sent) != 1 || second.sent[0].GetReset_() || len(second.sent[0].GetChanges()) != 2 {
			t.Fatalf("want two changes without a reset, got %v", second.sent)
		}
		changes := second.sent[0].GetChanges()
		if !proto.Equal(changes[0].GetWorkload(), s.answers[0].GetWorkload()) || changes[1].GetRemoved().GetKind() != "Workload" {
			t.Errorf("want the workload and its removal, got %v", changes)
		}
	})
}
