package health_test

import (
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/health"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

func TestR1_EjectionGrowsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := health.NewRegistry().Endpoint("a")
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
			s.ConnectFailed()
			s.ConnectFailed() // the same outage
			time.Sleep(want*time.Second - time.Millisecond)
			if !s.Ejected() {
				t.Fatalf("not ejected for %d s after %d failures", want, s.Failures())
			}
			time.Sleep(time.Millisecond)
			if s.Ejected() {
				t.Fatalf("ejected for more than %d s after %d failures", want, s.Failures())
			}
		}
		s.ConnectFailed()
		s.Connected()
		if s.Ejected() || s.Failures() != 0 {
			t.Error("still ejected after a connection")
		}
	})
}

func TestLatencyRisesAtOnceAndFallsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := health.NewRegistry().Endpoint("a")
		if s.Latency() != 0 || s.Cost() != 0 {
			t.Error("a latency without history")
		}
		s.Begin()
		if s.Cost() == 0 {
			t.Error("the first request is out and a second one costs nothing")
		}
		s.End()
		time.Sleep(time.Millisecond)
		s.Observe(time.Millisecond)
		s.Observe(100 * time.Millisecond)
		if got := s.Latency(); got != 100*time.Millisecond {
			t.Errorf("latency %v after a peak of 100ms", got)
		}
		time.Sleep(time.Second)
		s.Observe(time.Millisecond)
		if got := s.Latency(); got < 80*time.Millisecond || got > 95*time.Millisecond {
			t.Errorf("latency %v one second after a peak of 100ms", got)
		}
		time.Sleep(time.Minute)
		if got := s.Latency(); got > time.Millisecond {
			t.Errorf("latency %v a minute after the last request", got)
		}
		s.Failure(time.Microsecond)
		if got := s.Latency(); got < 500*time.Millisecond {
			t.Errorf("latency %v after a fast failure", got)
		}
	})
}

func TestObserveConcurrently(t *testing.T) {
	s := health.NewRegistry().Endpoint("a")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				s.Begin()
				s.Observe(time.Millisecond)
				s.End()
			}
		})
	}
	wg.Wait()
	if s.InFlight() != 0 {
		t.Errorf("%d in flight", s.InFlight())
	}
}

func tableOf(key string, endpoints ...string) *table.Table {
	set := &table.EndpointSet{Key: key}
	for _, e := range endpoints {
		set.Endpoints = append(set.Endpoints, &table.Endpoint{Key: e, Address: netip.MustParseAddr("127.0.0.1")})
	}
	backends := []table.Backend{{Weight: 1, Set: set}, {Weight: 1}}
	return &table.Table{Services: map[string]*table.Service{"default/s": {Rules: []table.Rule{{Backends: backends}}}}}
}

func TestR3_ReconcileForgetsAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := health.NewRegistry()
		first := tableOf("s", "a", "b")
		set := r.Set(first.Services["default/s"].Rules[0].Backends[0].Set)
		set.Cursor.Add(5)
		a, b := r.Endpoint("a"), r.Endpoint("b")
		second := tableOf("s", "a")
		r.Reconcile(second)
		if got := r.Set(second.Services["default/s"].Rules[0].Backends[0].Set); got.States[0] != a || got.Cursor.Load() != 5 {
			t.Error("state or turn did not survive a new table")
		}
		if r.Endpoint("b") != b {
			t.Error("b was forgotten at once")
		}
		time.Sleep(time.Hour)
		r.Reconcile(second)
		if r.Endpoint("a") != a || r.Endpoint("b") == b {
			t.Error("a was forgotten, or b was not")
		}
	})
}
