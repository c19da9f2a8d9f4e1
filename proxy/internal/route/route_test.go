package route_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/proxy/internal/route"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

type request struct{ path string }

func (r *request) Method() []byte               { return []byte("GET") }
func (r *request) Path() []byte                 { return []byte(r.path) }
func (r *request) Header(string) ([]byte, bool) { return nil, false }
func (r *request) Target() []byte               { return []byte(r.path) }
func (r *request) Authority() []byte            { return nil }
func (r *request) Idempotent() bool             { return true }

func rule(paths []string, weights ...uint32) table.Rule {
	r := table.Rule{}
	for _, p := range paths {
		r.Matches = append(r.Matches, match.HTTP{Path: match.Exact(p)})
	}
	for i, w := range weights {
		r.Backends = append(r.Backends, table.Backend{Service: fmt.Sprint(i), Weight: w})
		r.TotalWeight += w
	}
	return r
}

// TestL4_SelectSplitsByWeight draws evenly spaced numbers over the whole range: the shares are then exact to one draw.
func TestL4_SelectSplitsByWeight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.Uint32Range(0, 1000), 1, 6).Draw(t, "weights")
		svc := &table.Service{Rules: []table.Rule{rule(nil, weights...)}}
		total := svc.Rules[0].TotalWeight
		const draws = 4096
		got := map[*table.Backend]int{}
		for i := range draws {
			_, index, b := route.Select(svc, nil, uint32(uint64(i)<<32/draws))
			if index != 0 {
				t.Fatalf("index %d", index)
			}
			got[b]++
		}
		if total == 0 {
			if got[nil] != draws {
				t.Fatalf("no weight, yet %v chosen", got)
			}
			return
		}
		for i := range svc.Rules[0].Backends {
			b := &svc.Rules[0].Backends[i]
			want := draws * float64(b.Weight) / float64(total)
			if b.Weight == 0 && got[b] > 0 || math.Abs(float64(got[b])-want) > 1 {
				t.Fatalf("backend %d of weights %v: %d of %d, want %.1f", i, weights, got[b], draws, want)
			}
		}
	})
}

func TestSelectFirstMatchWins(t *testing.T) {
	paths := []string{"/a", "/b", "/c"}
	rapid.Check(t, func(t *rapid.T) {
		svc := &table.Service{}
		for range rapid.IntRange(0, 5).Draw(t, "rules") {
			svc.Rules = append(svc.Rules, rule(rapid.SliceOfN(rapid.SampledFrom(paths), 0, 2).Draw(t, "paths"), 1))
		}
		path := rapid.SampledFrom(append(paths, "/d")).Draw(t, "path")
		tcp := rapid.Bool().Draw(t, "tcp")
		want := -1
		for i, r := range svc.Rules {
			fits := len(r.Matches) == 0
			for _, m := range r.Matches {
				fits = fits || !tcp && m.Path.Match([]byte(path))
			}
			if fits {
				want = i
				break
			}
		}
		var got int
		var r *table.Rule
		if tcp {
			r, got, _ = route.Select(svc, nil, 1)
		} else {
			r, got, _ = route.Select(svc, &request{path}, 1)
		}
		if got != want || (r == nil) != (want < 0) || r != nil && r != &svc.Rules[want] {
			t.Fatalf("rule %d, want %d", got, want)
		}
	})
}

func TestSelectRuleWithoutBackend(t *testing.T) {
	svc := &table.Service{Rules: []table.Rule{rule(nil)}}
	r, index, b := route.Select(svc, nil, rand.Uint32())
	if r == nil || index != 0 || b != nil {
		t.Errorf("Select = %v, %d, %v; want the rule without a backend", r, index, b)
	}
}

func TestSelectDoesNotAllocate(t *testing.T) {
	svc := &table.Service{Rules: []table.Rule{rule([]string{"/x"}, 1), rule([]string{"/a"}, 3, 7)}}
	req := &request{"/a"}
	if n := testing.AllocsPerRun(100, func() { route.Select(svc, req, 77) }); n > 2 { // Path and Method of the test's own request
		t.Errorf("Select allocates %v times", n)
	}
}
