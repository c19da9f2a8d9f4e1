package compare

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/integration/bench/peers"
)

// markdown is the tables as docs/performance.md shows them.
func (r *report) markdown() string {
	var b strings.Builder
	f := r.Facts
	fmt.Fprintf(&b, "%s, commit %s, %s. %d cores (%s), Linux %s, TCP %s, load before: %s. Proxies on core %s, everything else on core %s.\n",
		f.Date.Format(time.RFC3339), f.Commit, f.Go, f.Cores, f.CPU, f.Kernel, f.Congestion, f.LoadBefore, f.Proxies, f.Others)
	fmt.Fprintf(&b, "%d rounds of %s after %s each, took %.0f s.", f.Rounds, f.For, f.Warm, f.Seconds)
	for _, name := range slices.Sorted(maps.Keys(f.Versions)) {
		fmt.Fprintf(&b, " %s %s.", name, f.Versions[name])
	}
	b.WriteByte('\n')
	for _, name := range slices.Sorted(maps.Keys(r.Absent)) {
		fmt.Fprintf(&b, "\nNot measured: %s (%s).\n", name, r.Absent[name])
	}
	r.goalsTable(&b)
	r.boundsTable(&b)
	r.callsTable(&b)
	r.numbersTable(&b, "CPU µs for each request (call, message, MB, handshake), both halves; how many a second", func(samples []sample) string {
		var rates []float64
		for _, s := range samples {
			rates = append(rates, s.Done/s.Seconds)
		}
		return fmt.Sprintf("%s (%s)", short(spreadOf(numbers(samples, cpu)).Median), rate(spreadOf(rates).Median))
	})
	r.numbersTable(&b, "Time until the answer was complete, p50 / p90 / p99, µs", func(samples []sample) string {
		var times [3][]float64
		for _, s := range samples {
			times[0], times[1], times[2] = append(times[0], s.P50), append(times[1], s.P90), append(times[2], s.P99)
		}
		if spreadOf(times[0]).Median == 0 {
			return "–"
		}
		return fmt.Sprintf("%.0f / %.0f / %.0f", spreadOf(times[0]).Median, spreadOf(times[1]).Median, spreadOf(times[2]).Median)
	})
	return b.String()
}

func (r *report) goalsTable(b *strings.Builder) {
	if len(r.Verdicts) == 0 {
		return
	}
	b.WriteString("\n| Scenario | Weft's | against | Ratio: median (of the rounds: low–high) | Must | Aim | |\n|---|---|---|---|---|---|---|\n")
	for _, v := range r.Verdicts {
		sign := "≤"
		if v.higher() {
			sign = "≥"
		}
		fmt.Fprintf(b, "| %s | %s | %s | **%.2f** (%.2f–%.2f) | %s %.2f | %s %.2f | %s |\n",
			title(v.Scenario), v.What, than(v), v.Ratio.Median, v.Ratio.Low, v.Ratio.High, sign, v.Must, sign, v.Aim, word(v.met(v.Must), v.met(v.Aim)))
	}
}

func than(v verdict) string {
	if v.Peer == best {
		return "the best: " + v.Than
	}
	return v.Than
}

func word(must, aim bool) string {
	switch {
	case aim:
		return "aim met"
	case must:
		return "must met"
	}
	return "**missed**"
}

func title(name string) string {
	for _, s := range scenarios() {
		if s.Name == name {
			return s.Title
		}
	}
	return name
}

// boundsTable shows numbers with a bound, with those of the peers beside them.
func (r *report) boundsTable(b *strings.Builder) {
	if len(r.Values) == 0 {
		return
	}
	names := r.names()
	fmt.Fprintf(b, "\n| Of one sidecar (memory: RssAnon, and all resident) | %s | Must | Aim | |\n|---%s|---|---|---|\n", strings.Join(names, " | "), strings.Repeat("|---", len(names)))
	for _, limit := range bounds() {
		row, measured, weft := "| "+limit.Name, false, 0.0
		for _, name := range names {
			i := slices.IndexFunc(r.Values, func(v value) bool { return v.Name == limit.Name && v.Contender == name })
			if i < 0 {
				row += " | –"
				continue
			}
			v := r.Values[i]
			row += fmt.Sprintf(" | %.2f %s", v.Value, limit.Unit)
			if v.RSS != 0 {
				row += fmt.Sprintf(" (%.1f)", v.RSS)
			}
			if name == peers.Weft {
				measured, weft = true, v.Value
			}
		}
		if measured {
			fmt.Fprintf(b, "%s | ≤ %v | ≤ %v | %s |\n", row, limit.Must, limit.Aim, word(weft <= limit.Must, weft <= limit.Aim))
		}
	}
}

// callsTable shows which system calls each made.
func (r *report) callsTable(b *strings.Builder) {
	if len(r.Calls) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| System calls for a request and hop (counted by %s) | |\n|---|---|\n", r.Facts.Tracer)
	for _, scenario := range slices.Sorted(maps.Keys(r.Calls)) {
		for _, name := range r.names() {
			calls := r.Calls[scenario][name]
			var parts []string
			for _, call := range slices.Sorted(maps.Keys(calls)) {
				if calls[call] >= .05 && call != allCalls {
					parts = append(parts, fmt.Sprintf("%s %.2f", call, calls[call]))
				}
			}
			fmt.Fprintf(b, "| %s: %s | **%.2f**: %s |\n", title(scenario), name, calls[allCalls], strings.Join(parts, ", "))
		}
	}
}

// names are the contenders that were measured.
func (r *report) names() []string {
	return slices.DeleteFunc(peers.Names(), func(name string) bool {
		return !slices.ContainsFunc(r.Samples, func(s sample) bool { return s.Contender == name }) &&
			!slices.ContainsFunc(r.Values, func(v value) bool { return v.Contender == name })
	})
}

// numbersTable has a row for each scenario and a column for each contender.
func (r *report) numbersTable(b *strings.Builder, heading string, cell func([]sample) string) {
	if len(r.Samples) == 0 {
		return
	}
	names := r.names()
	fmt.Fprintf(b, "\n| %s | %s |\n|---%s|\n", heading, strings.Join(names, " | "), strings.Repeat("|---", len(names)))
	for _, s := range scenarios() {
		row, measured := "| "+s.Title, false
		for _, name := range names {
			text := "–"
			if samples := r.of(s.Name, name); len(samples) > 0 {
				text, measured = cell(samples), true
			}
			row += " | " + text
		}
		if measured {
			b.WriteString(row + " |\n")
		}
	}
}

func short(us float64) string {
	if us >= 100 {
		return fmt.Sprintf("%.0f", us)
	}
	return fmt.Sprintf("%.1f", us)
}

func rate(n float64) string {
	if n >= 10000 {
		return fmt.Sprintf("%.1fk", n/1000)
	}
	return fmt.Sprintf("%.0f", n)
}
