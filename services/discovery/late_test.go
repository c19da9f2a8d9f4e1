package discovery

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/kv"
)

// gate holds up the watches of a store.
type gate struct{ open chan struct{} }

// hold makes a store whose watches pass the gate.
func (g *gate) hold(store kv.Store) kv.Store {
	if g == nil {
		return store
	}
	return &heldUp{store, g}
}

type heldUp struct {
	kv.Store
	gate *gate
}

func (h *heldUp) Watch(ctx context.Context, prefix string, after int64) (kv.Watch, error) {
	w, err := h.Store.Watch(ctx, prefix, after)
	return &heldUpWatch{w, ctx, h.gate}, err
}

type heldUpWatch struct {
	kv.Watch
	ctx  context.Context
	gate *gate
}

func (w *heldUpWatch) Next() (kv.Batch, error) {
	select {
	case <-w.gate.open:
		return w.Watch.Next()
	case <-w.ctx.Done():
		return kv.Batch{}, w.ctx.Err()
	}
}

// TestLateNewsEndNoRegistration: a replica that hears late of what is in the store, because the machine is busy, does not take
// a workload that it has just stored for one that was removed; one that was removed is still found.
func TestLateNewsEndNoRegistration(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.late = &gate{make(chan struct{})}
		d := r.start("a")
		s := d.connect("reviews", workload("reviews-1")).beat()
		pass(time.Minute)
		if s.ended() {
			t.Fatalf("the stream was ended: %v", s.err)
		}
		close(r.late.open)
		pass(time.Second)
		if s.ended() || d.state("reviews-1") != ready {
			t.Errorf("after the news: ended %v, state %v", s.ended(), d.state("reviews-1"))
		}
		if _, err := d.DeleteWorkload(t.Context(), &discoverypb.DeleteWorkloadRequest{Name: "reviews-1"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !s.ended() {
			t.Error("a workload that was removed keeps its stream")
		}
	})
}
