package telemetry

import (
	"math"
	"time"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
)

// maxBucket is the last bucket that a report may name: its values are over a month.
const maxBucket = 167

// histogramFrom makes a vector of a valid histogram.
func histogramFrom(h *telemetrypb.Histogram) sparse[uint32] {
	if len(h.GetBuckets()) == 0 {
		return nil
	}
	out := make(sparse[uint32], 0, len(h.GetBuckets()))
	for i, b := range h.GetBuckets() {
		if n := h.GetCounts()[i]; n != 0 {
			out = append(out, cell[uint32]{b, n})
		}
	}
	return out
}

// histogramTo makes a histogram of a vector.
func histogramTo(s sparse[uint32], sumMicros uint64) *telemetrypb.Histogram {
	if len(s) == 0 && sumMicros == 0 {
		return nil
	}
	h := &telemetrypb.Histogram{
		Buckets:   make([]uint32, 0, len(s)),
		Counts:    make([]uint64, 0, len(s)),
		SumMicros: sumMicros,
	}
	for _, c := range s {
		h.Buckets = append(h.Buckets, c.key)
		h.Counts = append(h.Counts, c.n)
	}
	return h
}

// lowerBound is the smallest value of a bucket, in microseconds.
func lowerBound(bucket uint32) float64 { return math.Exp2(float64(bucket)/4) - 1 }

// quantile is the value that a share q of all counted values does not exceed, interpolated within its bucket; 0 when nothing
// was counted.
func quantile(s sparse[uint32], q float64) time.Duration {
	total := s.total()
	if total == 0 {
		return 0
	}
	rank := max(math.Ceil(q*float64(total)), 1)
	before := 0.0
	for _, c := range s {
		if before+float64(c.n) >= rank {
			low, high := lowerBound(c.key), lowerBound(c.key+1)
			micros := low + (high-low)*(rank-before-0.5)/float64(c.n)
			return time.Duration(micros * float64(time.Microsecond))
		}
		before += float64(c.n)
	}
	return time.Duration(lowerBound(s[len(s)-1].key+1) * float64(time.Microsecond))
}
