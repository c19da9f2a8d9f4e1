package compare

import (
	"fmt"
	"html"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/integration/bench/peers"
)

// Sizes of the picture.
const (
	plotWidth, plotLeft, plotRight = 860.0, 300.0, 150.0
	barHeight, groupGap, plotTop   = 11.0, 12.0, 48.0
)

func colours() map[string]string {
	return map[string]string{peers.Weft: "#2563eb", peers.Nginx: "#16a34a", peers.HAProxy: "#d97706", peers.Envoy: "#9333ea", peers.NetHTTP: "#9ca3af"}
}

// plot draws what a request costs each contender in each scenario, as bars with nginx as one: an SVG, or nothing without nginx.
func (r *report) plot() string {
	names := r.names()
	if !slices.Contains(names, peers.Nginx) {
		return ""
	}
	var b strings.Builder
	y := plotTop
	full, most := plotWidth-plotLeft-plotRight, 3.0
	for i, name := range names {
		x := plotLeft + float64(i)*100
		fmt.Fprintf(&b, `<rect x="%.0f" y="14" width="10" height="10" fill="%s"/><text x="%.0f" y="23">%s</text>`+"\n", x, colours()[name], x+14, html.EscapeString(name))
	}
	for _, s := range scenarios() {
		base := spreadOf(numbers(r.of(s.Name, peers.Nginx), cpu)).Median
		if len(r.of(s.Name, peers.Nginx)) == 0 {
			continue
		}
		fmt.Fprintf(&b, `<text x="%.0f" y="%.1f" text-anchor="end">%s</text>`+"\n", plotLeft-8, y+barHeight*float64(len(names))/2+4, html.EscapeString(s.Title))
		for _, name := range names {
			if samples := r.of(s.Name, name); len(samples) > 0 {
				us := spreadOf(numbers(samples, cpu)).Median
				// What is longer than the picture ends at its edge; the number says how long it is.
				fmt.Fprintf(&b, `<rect x="%.0f" y="%.1f" width="%.1f" height="%.0f" fill="%s"/><text x="%.1f" y="%.1f" class="n">%.2f (%s µs)</text>`+"\n",
					plotLeft, y, min(us/base, most)/most*full, barHeight-2, colours()[name], plotLeft+min(us/base, most)/most*full+4, y+barHeight-3, us/base, short(us))
			}
			y += barHeight
		}
		y += groupGap
	}
	one := plotLeft + full/most
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" font-family="sans-serif" font-size="12">
<style>.n{font-size:9px}</style><rect width="100%%" height="100%%" fill="white"/>
<text x="%.0f" y="42" font-size="10">CPU time for each unit; nginx is 1, shorter is better</text>
<line x1="%.1f" y1="%.0f" x2="%.1f" y2="%.0f" stroke="#16a34a" stroke-dasharray="3 3"/>
%s</svg>
`, plotWidth, y, plotLeft, one, plotTop, one, y-groupGap, b.String())
}
