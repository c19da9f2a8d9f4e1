package spiffe_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
)

func web() spiffe.Account { return spiffe.Account{Namespace: "default", Name: "web"} }

func TestSourceWakesItsWaiters(t *testing.T) {
	m := testca.New(t, "weft.local").SVID(t, web())
	synctest.Test(t, func(t *testing.T) {
		var s spiffe.Source
		if s.Load() != nil {
			t.Fatal("the zero source holds something")
		}
		got := make(chan *spiffe.Material, 2)
		for range cap(got) {
			go func() {
				m, err := s.Wait(t.Context())
				if err != nil {
					t.Error(err)
				}
				got <- m
			}()
		}
		synctest.Wait()
		changed := s.Changed()
		s.Set(m)
		<-changed
		for range cap(got) {
			if <-got != m {
				t.Error("a waiter got something else")
			}
		}
		select {
		case <-s.Changed():
			t.Error("changed, though nothing has changed since")
		default:
		}
	})
}

func TestSourceWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := spiffe.NewSource(nil).Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v, want the context's", err)
		}
	})
}

func TestSetBundle(t *testing.T) {
	ours, theirs := testca.New(t, "weft.local"), testca.New(t, "weft.local")
	s := ours.Source(t, web())
	before := s.Load()
	if s.SetBundle(ours.Bundle()) || s.Load() != before {
		t.Error("an equal bundle changed something")
	}
	union := ours.Bundle()
	union.AddX509Authority(theirs.Root())
	if !s.SetBundle(union) {
		t.Fatal("another bundle changed nothing")
	}
	after := s.Load()
	if after.Generation <= before.Generation || !after.Bundle.Equal(union) || after.ID != before.ID {
		t.Errorf("after: generation %d (was %d), ID %q (was %q)", after.Generation, before.Generation, after.ID, before.ID)
	}
	if before.Bundle.HasX509Authority(theirs.Root()) {
		t.Error("material that was handed out has changed")
	}
	if spiffe.NewSource(nil).SetBundle(union) {
		t.Error("a source without an SVID took a bundle")
	}
}

func TestCertificatesNamesTheBrokenOne(t *testing.T) {
	good := testca.New(t, "weft.local").Root().Raw
	if _, err := spiffe.Certificates([][]byte{good, {1}}); err == nil || err.Error()[:18] != "certificate 2 of 2" {
		t.Errorf("error is %v, want one about certificate 2 of 2", err)
	}
}
