package h2

import "time"

// bucket is a token bucket for one goroutine.
type bucket struct {
	tokens, burst, perSecond float64
	last                     time.Time
}

func newBucket(burst, perSecond int) bucket {
	return bucket{tokens: float64(burst), burst: float64(burst), perSecond: float64(perSecond), last: time.Now()}
}

// take says whether one more is allowed.
func (b *bucket) take() bool {
	if b.tokens < 1 {
		now := time.Now()
		b.tokens = min(b.burst, b.tokens+now.Sub(b.last).Seconds()*b.perSecond)
		b.last = now
	}
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
