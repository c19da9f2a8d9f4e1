package compare

import (
	"math"
	"slices"

	"github.com/weft-mesh/weft/integration/bench/peers"
)

// spread is the middle and the ends of some numbers, one of each round.
type spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

func spreadOf(numbers []float64) spread {
	if len(numbers) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(numbers))
	middle := sorted[len(sorted)/2]
	if len(sorted)%2 == 0 {
		middle = (middle + sorted[len(sorted)/2-1]) / 2
	}
	return spread{middle, sorted[0], sorted[len(sorted)-1]}
}

// verdict is what became of a goal.
type verdict struct {
	goal
	// Than is the peer, where the goal is about the best of several.
	Than string `json:"than"`
	// Ratio of Weft to the peer, one of each round.
	Ratio spread `json:"ratio"`
}

// met says whether the worse end of the ratios is within a bound.
func (v verdict) met(bound float64) bool {
	if v.higher() {
		return v.Ratio.Low >= bound
	}
	return v.Ratio.High <= bound
}

// number is what a goal compares.
func (s sample) number(what string) float64 {
	switch what {
	case p50:
		return s.P50
	case perCore:
		return 1e6 / s.Each
	}
	return s.Each
}

// of are the samples of a contender in a scenario, in the order of rounds.
func (r *report) of(scenario, contender string) []sample {
	var out []sample
	for _, s := range r.Samples {
		if s.Scenario == scenario && s.Contender == contender {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b sample) int { return a.Round - b.Round })
	return out
}

func numbers(samples []sample, what string) []float64 {
	var out []float64
	for _, s := range samples {
		out = append(out, s.number(what))
	}
	return out
}

// verdicts are of all goals of which both sides were measured.
func (r *report) verdicts() []verdict {
	var out []verdict
	for _, g := range goals() {
		own := numbers(r.of(g.Scenario, peers.Weft), g.What)
		than := g.Peer
		if than == best {
			than = r.best(g)
		}
		other := numbers(r.of(g.Scenario, than), g.What)
		if len(own) == 0 || len(own) != len(other) {
			continue
		}
		var ratios []float64
		for i := range own {
			ratios = append(ratios, own[i]/other[i])
		}
		out = append(out, verdict{g, than, spreadOf(ratios)})
	}
	return out
}

// best is the real peer with the best median.
func (r *report) best(g goal) string {
	var name string
	var mark float64
	for _, peer := range []string{peers.Nginx, peers.HAProxy, peers.Envoy} {
		m := spreadOf(numbers(r.of(g.Scenario, peer), g.What)).Median
		if math.IsNaN(m) {
			continue
		}
		if name == "" || (m > mark) == g.higher() {
			name, mark = peer, m
		}
	}
	return name
}
