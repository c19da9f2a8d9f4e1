package limit

import (
	"sync/atomic"
	"time"
)

const (
	// token in the budget's unit: thousandths, so that one percent of a request is ten.
	token = 1000
	// savings caps what requests can save up for later, so that an hour of health does not pay for a storm.
	savings = 100 * token
)

// Budget is a token bucket: requests pay a percentage in, retries take a whole one out. A second, small bucket fills with
// time. It is safe for concurrent use; Request costs one atomic load when the savings are full.
type Budget struct {
	start   time.Time
	deposit atomic.Int64 // thousandths for each request
	perSec  atomic.Int64 // thousandths for each second

	saved   atomic.Int64 // thousandths
	allowed atomic.Int64 // thousandths that the time bucket had at stamp
	stamp   atomic.Int64 // nanoseconds since start
}

// NewBudget allows retries up to percent of the requests, plus minPerSecond each second.
func NewBudget(percent, minPerSecond uint32) *Budget {
	b := &Budget{start: time.Now()}
	b.Set(percent, minPerSecond)
	b.allowed.Store(b.perSec.Load())
	return b
}

// Set changes the limits; what has been saved stays.
func (b *Budget) Set(percent, minPerSecond uint32) {
	b.deposit.Store(int64(percent) * token / 100)
	b.perSec.Store(int64(minPerSecond) * token)
}

// Request counts a first try.
func (b *Budget) Request() {
	if b.saved.Load() < savings {
		b.saved.Add(b.deposit.Load())
	}
}

// Retry says whether one more try may be made, and counts it.
func (b *Budget) Retry() bool {
	b.refill()
	return take(&b.allowed) || take(&b.saved)
}

// refill adds what time has brought since the last refill, up to one second's worth.
func (b *Budget) refill() {
	perSec := b.perSec.Load()
	if perSec == 0 {
		b.allowed.Store(0)
		return
	}
	last := b.stamp.Load()
	now := int64(time.Since(b.start))
	// A long pause is worth no more than a full bucket, and bounding it first keeps the product in range.
	gain := min(now-last, int64(time.Second)) * perSec / int64(time.Second)
	if gain <= 0 || !b.stamp.CompareAndSwap(last, now) {
		return
	}
	if over := b.allowed.Add(gain) - perSec; over > 0 {
		b.allowed.Add(-over)
	}
}

func take(bucket *atomic.Int64) bool {
	if bucket.Load() < token {
		return false
	}
	if bucket.Add(-token) >= 0 {
		return true
	}
	bucket.Add(token)
	return false
}
