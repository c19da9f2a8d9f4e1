package observe

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// buckets covers values up to 2^40 microseconds, twelve days, with four buckets for each power of two. The bounds are those of
// the telemetry contract: bucket i counts values v with 2^(i/4) <= v+1 < 2^((i+1)/4).
const buckets = 161

// Fourth roots of two in fixed point with 63 bits behind the point, rounded up: no whole number lies on them.
const (
	root1 = 0x9837f0518db8a970 // 2^(1/4) * 2^63
	root2 = 0xb504f333f9de6485 // 2^(2/4) * 2^63
	root3 = 0xd744fccad69d6af5 // 2^(3/4) * 2^63
)

// bucketOf is floor(4*log2(v+1)), the last bucket for anything larger.
func bucketOf(micros uint64) int {
	n := micros + 1
	if n == 0 {
		return buckets - 1
	}
	power := bits.Len64(n) - 1
	mantissa := n << (63 - power)
	quarter := 0
	switch {
	case mantissa >= root3:
		quarter = 3
	case mantissa >= root2:
		quarter = 2
	case mantissa >= root1:
		quarter = 1
	}
	return min(4*power+quarter, buckets-1)
}

// histogram counts durations; its methods may be called from anywhere.
type histogram struct {
	counts [buckets]atomic.Uint64
	sum    atomic.Uint64 // microseconds
}

func (h *histogram) observe(d time.Duration) {
	micros := uint64(max(d, 0) / time.Microsecond)
	h.counts[bucketOf(micros)].Add(1)
	h.sum.Add(micros)
}
