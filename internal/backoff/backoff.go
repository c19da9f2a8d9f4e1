package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff yields growing random delays. It belongs to one goroutine.
type Backoff struct {
	base, limit time.Duration
	ceiling     time.Duration
	random      func(n int64) int64
}

// New makes a back-off whose first delay is at most base and whose later ones are at most limit.
func New(base, limit time.Duration) *Backoff {
	return NewRand(base, limit, rand.Int64N)
}

// NewRand is New with a source of randomness: random returns a number in [0, n).
func NewRand(base, limit time.Duration, random func(n int64) int64) *Backoff {
	base = max(base, 1)
	return &Backoff{base: base, limit: max(base, limit), ceiling: base, random: random}
}

// Next returns the next delay, anywhere between nothing and the current ceiling, and doubles the ceiling. The jitter is full
// because clients that share a part of their delay still arrive in waves.
func (b *Backoff) Next() time.Duration {
	d := time.Duration(b.random(int64(b.ceiling) + 1))
	if b.ceiling > b.limit/2 {
		b.ceiling = b.limit
	} else {
		b.ceiling *= 2
	}
	return d
}

// Reset starts again from the first delay; call it when an attempt did some good.
func (b *Backoff) Reset() { b.ceiling = b.base }

// Wait sleeps for the next delay. It returns the context's error when ctx ends first.
func (b *Backoff) Wait(ctx context.Context) error {
	return Sleep(ctx, b.Next())
}

// Sleep waits for d or until ctx ends, whose error it then returns.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
