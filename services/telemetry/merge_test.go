package telemetry

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
)

func epoch() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func wide() Limits { return Limits{Sidecars: 100, Edges: 1000, EdgesPerSidecar: 100} }

func outbound(n int) edge {
	return edge{
		direction: telemetrypb.Direction_DIRECTION_OUTBOUND, source: "default/web", sourceWorkload: "default/web-1",
		service: fmt.Sprintf("default/s%d", n), destinationWorkload: fmt.Sprintf("default/s%d-1", n), protocol: "http", mtls: true,
	}
}

func inbound(n int) edge {
	e := outbound(n)
	e.direction, e.sourceWorkload = telemetrypb.Direction_DIRECTION_INBOUND, ""
	return e
}

func requests(n uint64) counters {
	if n == 0 {
		return counters{}
	}
	return counters{
		requests: n, successes: n, latency: sparse[uint32]{{40, n}}, statuses: sparse[string]{{"2xx", n}}, sumMicros: n * 1000,
	}
}

// totalOf is what the replicas know together about the last window, as the answer to a query makes it.
func totalOf(replicas []*memory, now time.Time, window time.Duration) uint64 {
	all := merged{}
	for _, m := range replicas {
		all.take(m.since(now, now.Add(-window)))
	}
	var total uint64
	for _, c := range all.clientFirst() {
		total += c.requests
	}
	return total
}

// A sidecar reports every second, to whichever replica it happens to be connected to, and restarts now and then. Whatever
// it did, all replicas together know exactly what happened in any window.
func TestO1_MovingBetweenReplicasCountsEachRequestOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		replicas := []*memory{newMemory(wide()), newMemory(wide()), newMemory(wide())}
		seconds := rapid.IntRange(2, 55).Draw(t, "seconds")
		window := time.Duration(rapid.IntRange(1, 60).Draw(t, "window")) * time.Second

		now, start := epoch(), epoch()
		counts := map[edge]uint64{}
		var added []uint64 // by second
		restarts := 0
		for range seconds {
			now = now.Add(time.Second)
			if rapid.IntRange(0, 9).Draw(t, "restart") == 9 && restarts < maxRuns-1 {
				restarts++
				start, counts = now.Add(-500*time.Millisecond), map[edge]uint64{}
			}
			var sumAdded uint64
			for n := range 2 {
				grown := rapid.Uint64Range(0, 5).Draw(t, "requests")
				counts[outbound(n)] += grown
				sumAdded += grown
			}
			added = append(added, sumAdded)
			var report []reported
			for e, n := range counts {
				report = append(report, reported{e, requests(n)})
			}
			at := rapid.SampledFrom(replicas).Draw(t, "replica")
			at.take(now, "default/web-1", start, report)
			if rapid.Bool().Draw(t, "repeat") { // a report whose answer was lost is sent again, to another replica
				rapid.SampledFrom(replicas).Draw(t, "again").take(now, "default/web-1", start, report)
			}
		}
		var want uint64
		for i, n := range added {
			if at := epoch().Add(time.Duration(i+1) * time.Second); at.After(now.Add(-window)) {
				want += n
			}
		}
		if got := totalOf(replicas, now, window); got != want {
			t.Fatalf("window of %v: %d requests, want %d", window, got, want)
		}
	})
}

func TestMergeIsIndependentOfOrderAndRepetition(t *testing.T) {
	compare := cmp.AllowUnexported(edgeWindow{}, counters{}, edge{}, cell[string]{}, cell[uint32]{}, runKey{})
	rapid.Check(t, func(t *rapid.T) {
		var parts [][]runWindow
		for range rapid.IntRange(1, 5).Draw(t, "parts") {
			begin := rapid.Uint64Range(0, 100).Draw(t, "begin")
			parts = append(parts, []runWindow{{sidecar: "default/web-1", start: epoch(), edges: []edgeWindow{{
				edge: outbound(0), begin: requests(begin), end: requests(begin + rapid.Uint64Range(0, 50).Draw(t, "more")),
				known: rapid.Bool().Draw(t, "known"),
			}}}})
		}
		once := merged{}
		for _, p := range parts {
			once.take(p)
		}
		twice := merged{}
		for _, p := range append(rapid.Permutation(parts).Draw(t, "order"), parts...) {
			twice.take(p)
		}
		if diff := cmp.Diff(once, twice, compare); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestClientsSideWins(t *testing.T) {
	lonely := inbound(2)
	lonely.source = ""
	tests := []struct {
		name  string
		edges map[edge]uint64
		want  uint64
	}{
		{"both sides", map[edge]uint64{outbound(1): 10, inbound(1): 12}, 10},
		{"server's side only", map[edge]uint64{inbound(1): 12}, 12},
		{"client's side silent in the window", map[edge]uint64{outbound(1): 0, inbound(1): 1}, 0},
		{"plaintext caller", map[edge]uint64{outbound(2): 10, lonely: 3}, 13},
		{"other destination", map[edge]uint64{outbound(1): 10, inbound(2): 5}, 15},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			all := merged{}
			for e, n := range test.edges {
				all.take([]runWindow{{sidecar: e.direction.String(), start: epoch(), edges: []edgeWindow{
					{edge: e, begin: requests(7), end: requests(7 + n), known: true},
				}}})
			}
			var got uint64
			for _, c := range all.clientFirst() {
				got += c.requests
			}
			if got != test.want {
				t.Errorf("%d requests, want %d", got, test.want)
			}
		})
	}
}

func TestCountersNeverGoBackwards(t *testing.T) {
	m := newMemory(wide())
	for i, n := range []uint64{5, 9, 3, 9} {
		m.take(epoch().Add(time.Duration(i)*time.Second), "default/web-1", epoch(), []reported{{outbound(1), requests(n)}})
	}
	if got := totalOf([]*memory{m}, epoch().Add(3*time.Second), time.Minute); got != 9 {
		t.Errorf("%d requests, want 9", got)
	}
	m.take(epoch().Add(4*time.Second), "default/web-1", epoch().Add(-time.Hour), []reported{{outbound(1), requests(500)}})
	if got := totalOf([]*memory{m}, epoch().Add(4*time.Second), time.Minute); got != 9 {
		t.Errorf("%d requests after a report of an older run, want 9", got)
	}
}

// TestTheProcessBeforeTheNewestStillCounts: after an upgrade the old one reports to its end what its connections do.
func TestTheProcessBeforeTheNewestStillCounts(t *testing.T) {
	m := newMemory(wide())
	second := func(n int) time.Time { return epoch().Add(time.Duration(n) * time.Second) }
	report := func(at int, start time.Time, n uint64) {
		m.take(second(at), "default/web-1", start, []reported{{outbound(1), requests(n)}})
	}
	report(0, epoch(), 5)
	report(1, second(1), 1) // the new process
	report(2, epoch(), 8)
	report(2, second(1), 4)
	report(3, epoch(), 9) // the old one's last word
	report(4, second(1), 6)
	if got := totalOf([]*memory{m}, second(4), time.Minute); got != 15 {
		t.Errorf("%d requests, want 9 of the old process and 6 of the new one", got)
	}
	if runs := m.whole(second(4)); len(runs) != 1 || !runs[0].start.Equal(second(1)) {
		t.Errorf("the newest process is not the one that counts as a whole: %+v", runs)
	}
	for i := range maxRuns {
		report(5, second(10+i), 1)
	}
	if over := m.take(second(6), "default/web-1", epoch(), nil); over != (overflow{sidecars: 1}) {
		t.Errorf("a run older than all that are held: %+v", over)
	}
}

func TestWhatHappenedDuringALongSilenceIsNotOfNow(t *testing.T) {
	m := newMemory(wide())
	start := epoch().Add(-time.Hour)
	m.take(epoch(), "default/web-1", start, []reported{{outbound(1), requests(100)}})
	later := epoch().Add(5 * time.Minute)
	m.take(later, "default/web-1", start, []reported{{outbound(1), requests(9000)}})
	m.take(later.Add(time.Second), "default/web-1", start, []reported{{outbound(1), requests(9010)}})
	if got := totalOf([]*memory{m}, later.Add(time.Second), 30*time.Second); got != 10 {
		t.Errorf("%d requests, want the 10 after the silence", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory(Limits{Sidecars: 2, Edges: 3, EdgesPerSidecar: 2})
	report := []reported{{outbound(1), requests(1)}, {outbound(2), requests(1)}, {outbound(3), requests(1)}}
	var got []overflow
	for _, sidecar := range []string{"default/a", "default/b", "default/c"} {
		got = append(got, m.take(epoch(), sidecar, epoch(), report))
	}
	want := []overflow{{edges: 1}, {edges: 2}, {sidecars: 1}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(overflow{})); diff != "" {
		t.Error(diff)
	}
	if over := m.take(epoch().Add(time.Minute), "default/c", epoch(), report[:1]); over != (overflow{}) {
		t.Errorf("%+v did not fit although another sidecar is gone", over)
	}
	if sidecars, edges := m.size(); sidecars != 2 || edges > 3 {
		t.Errorf("%d sidecars with %d edges are held", sidecars, edges)
	}
	m.sweep(epoch().Add(time.Hour))
	if sidecars, edges := m.size(); sidecars != 0 || edges != 0 {
		t.Errorf("%d sidecars and %d edges are left after an hour of silence", sidecars, edges)
	}
}

func TestHistoryStaysShortAndComplete(t *testing.T) {
	m := newMemory(wide())
	now := epoch()
	for i := range uint64(1200) {
		now = now.Add(time.Second)
		m.take(now, "default/web-1", epoch(), []reported{{outbound(1), requests(i + 1)}})
	}
	if n := len(m.sidecars["default/web-1"][0].edges[outbound(1)].steps); n > thinAt {
		t.Errorf("%d steps are held, want at most %d", n, thinAt)
	}
	for _, window := range []time.Duration{time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, maxWindow} {
		got := totalOf([]*memory{m}, now, window)
		want := uint64(window / time.Second)
		if got < want || got > want+uint64(coarse/time.Second) {
			t.Errorf("window of %v: %d requests, want %d and at most %v more", window, got, want, coarse)
		}
	}
}

// Open connections are a reading: the newest counts, over whatever window, until the sidecar falls silent.
func TestOpenConnectionsAreAReading(t *testing.T) {
	m, tcp := newMemory(wide()), outbound(1)
	tcp.protocol = "tcp"
	open := func(now time.Time) (total uint64) {
		all := merged{}
		all.take(m.since(now, now.Add(-time.Minute)))
		for _, c := range all.clientFirst() {
			total += c.active
		}
		return total
	}
	now := epoch()
	for _, reading := range []uint64{3, 5, 2} {
		now = now.Add(time.Second)
		m.take(now, "default/web-1", epoch(), []reported{{tcp, counters{active: reading}}})
		if got := open(now); got != reading {
			t.Errorf("%d connections are open, want %d", got, reading)
		}
	}
	if got := open(now.Add(2 * maxSilence)); got != 0 {
		t.Errorf("%d connections of a sidecar that is silent, want none", got)
	}
}
