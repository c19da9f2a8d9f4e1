package tenure_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/proxy/internal/tenure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// part writes down when it runs.
type part struct{ begun, ended int }

func (p *part) run(ctx context.Context) error {
	p.begun++
	<-ctx.Done()
	p.ended++
	return nil
}

func TestPartsRunDuringTheTenureOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p, late part
		ten := tenure.New()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() { done <- ten.During(p.run)(ctx) }()
		synctest.Wait()
		if p.begun != 0 || ten.Ended() {
			t.Errorf("before the beginning: %+v", p)
		}
		ten.Begin()
		synctest.Wait()
		if p != (part{begun: 1}) {
			t.Errorf("during it: %+v", p)
		}
		ten.End()
		if p != (part{begun: 1, ended: 1}) || !ten.Ended() {
			t.Errorf("End returned before the part had stopped: %+v", p)
		}
		go func() { done <- ten.During(late.run)(ctx) }()
		synctest.Wait()
		if len(done) > 0 || late.begun != 0 {
			t.Errorf("after it: %d parts of the group have returned, a late one %+v", len(done), late)
		}
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	})
}

func TestAPartThatFailsDoesNotWait(t *testing.T) {
	boom := errors.New("boom")
	ten := tenure.New()
	ten.Begin()
	if err := ten.During(func(context.Context) error { return boom })(t.Context()); !errors.Is(err, boom) {
		t.Errorf("want %v, got %v", boom, err)
	}
	if err := ten.During(func(context.Context) error { return nil })(t.Context()); err != nil {
		t.Errorf("an early end: %v", err)
	}
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p part
		ctx, cancel := context.WithCancel(t.Context())
		pausable := tenure.NewPausable(p.run)
		done := make(chan error, 1)
		go func() { done <- pausable.Run(ctx) }()
		resume, err := pausable.Pause(ctx)
		if err != nil || p != (part{1, 1}) {
			t.Fatalf("paused: %+v, %v", p, err)
		}
		resume()
		synctest.Wait()
		if p != (part{2, 1}) {
			t.Errorf("resumed: %+v", p)
		}
		if _, err := pausable.Pause(ctx); err != nil || p != (part{2, 2}) {
			t.Errorf("paused again: %+v, %v", p, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := pausable.Pause(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Pause of a part that has ended: %v", err)
		}
	})
}
