// Package limit keeps one caller of the gateway from taking the control plane away from the others: how often each may call,
// how often an address may present credentials that are none, and how many calls run at once. Each replica counts for itself.
package limit

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/weft-mesh/weft/services/internal/fault"
)

// Config holds the limits.
type Config struct {
	// Rate is how many calls a second each caller may make in the long run, and Burst how many at once.
	Rate  float64
	Burst int
	// Concurrent is how many calls may run at once, of all callers together, streams included.
	Concurrent int
	// Body is how large one request may be, in bytes.
	Body int
}

// Default returns the limits that hold when nothing is configured.
func Default() Config { return Config{Rate: 200, Burst: 1000, Concurrent: 1024, Body: 16 << 20} }

// Validate reports all problems of the limits.
func (c Config) Validate() error {
	var errs []error
	if c.Rate <= 0 || c.Burst < 1 {
		errs = append(errs, fmt.Errorf("gateway-rate is %g and gateway-burst %d; both must be more than 0", c.Rate, c.Burst))
	}
	if c.Concurrent < 1 {
		errs = append(errs, fmt.Errorf("gateway-max-concurrent is %d; it must be at least 1", c.Concurrent))
	}
	if c.Body < 1024 || c.Body > 64<<20 {
		errs = append(errs, fmt.Errorf("gateway-max-body is %d; it must be 1 KiB to 64 MiB", c.Body))
	}
	return errors.Join(errs...)
}

// Credentials that are none, and calls that are not allowed, are a matter of a few slips, or of guessing.
const (
	failureRate  = 1
	failureBurst = 20
	refusalBurst = 60
)

// maxBuckets bounds how many callers are counted at once.
const maxBuckets = 4096

// Limiter counts. Safe for concurrent use.
type Limiter struct {
	cfg     Config
	now     func() time.Time
	running atomic.Int64

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

// New makes a limiter.
func New(cfg Config, now func() time.Time) *Limiter {
	return &Limiter{cfg: cfg, now: now, buckets: map[string]*rate.Limiter{}}
}

// Enter counts a call in; leave counts it out.
func (l *Limiter) Enter() (leave func(), err error) {
	if l.running.Add(1) > int64(l.cfg.Concurrent) {
		l.running.Add(-1)
		return nil, &fault.Error{
			Kind: fault.Exhausted, RetryAfter: time.Second,
			Text: fmt.Sprintf("%d calls run at this gateway already, which is as many as it takes (gateway-max-concurrent); try again in 1s", l.cfg.Concurrent),
		}
	}
	return func() { l.running.Add(-1) }, nil
}

// Call counts one call of a caller, or refuses it.
func (l *Limiter) Call(caller string) error {
	wait := l.take("call "+caller, rate.Limit(l.cfg.Rate), l.cfg.Burst)
	if wait <= 0 {
		return nil
	}
	return exhausted(wait, "calls come faster than %g a second (gateway-rate, with bursts of %d)", l.cfg.Rate, l.cfg.Burst)
}

// Failed counts a credential of an address that was none.
func (l *Limiter) Failed(address string) { l.take("failure "+address, failureRate, failureBurst) }

// Refused counts a refusal that is to be written down, or says that there have been too many.
func (l *Limiter) Refused(caller string) error {
	if wait := l.take("refused "+caller, failureRate, refusalBurst); wait > 0 {
		return exhausted(wait, "too many refusals")
	}
	return nil
}

// Guessing refuses an address that has presented too many credentials that were none.
func (l *Limiter) Guessing(address string) error {
	l.mu.Lock()
	b := l.buckets["failure "+address]
	l.mu.Unlock()
	if b == nil || b.TokensAt(l.now()) >= 1 {
		return nil
	}
	return exhausted(time.Second, "%s has presented too many credentials that are none", address)
}

func exhausted(wait time.Duration, format string, args ...any) error {
	wait = max(wait.Round(time.Millisecond), time.Millisecond)
	return &fault.Error{Kind: fault.Exhausted, RetryAfter: wait, Text: fmt.Sprintf(format, args...) + fmt.Sprintf("; try again in %s", wait)}
}

// take takes a token out of a bucket and returns 0, or says how long it takes until there is one.
func (l *Limiter) take(key string, limit rate.Limit, burst int) time.Duration {
	now := l.now()
	l.mu.Lock()
	b := l.buckets[key]
	if b == nil {
		l.makeRoom(now)
		b = rate.NewLimiter(limit, burst)
		l.buckets[key] = b
	}
	l.mu.Unlock()
	r := b.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// makeRoom forgets full buckets, which are the same as none. When too many are in use, any go until half are left, so that the
// next look is far away; their owners gain one burst.
func (l *Limiter) makeRoom(now time.Time) {
	if len(l.buckets) < maxBuckets {
		return
	}
	for key, b := range l.buckets {
		if b.TokensAt(now) >= float64(b.Burst()) {
			delete(l.buckets, key)
		}
	}
	for key := range l.buckets {
		if len(l.buckets) <= maxBuckets/2 {
			return
		}
		delete(l.buckets, key)
	}
}
