package h2

import (
	"sync"
	"time"
)

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

// give puts n back, as far as there is room.
func (b *bucket) give(n int) { b.tokens = min(b.burst, b.tokens+float64(n)) }

// fresh says whether less than a tenth has been used of what may be used at once.
func (b *bucket) fresh() bool { return b.tokens > b.burst*9/10 }

// sharedBucket is a bucket for many goroutines.
type sharedBucket struct {
	mu sync.Mutex
	bucket
}

func (b *sharedBucket) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bucket.take()
}
