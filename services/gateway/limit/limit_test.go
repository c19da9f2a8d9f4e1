package limit

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/weft-mesh/weft/services/internal/fault"
)

type clock struct{ now time.Time }

func newLimiter(cfg Config) (*Limiter, *clock) {
	c := &clock{now: time.Unix(1000, 0)}
	return New(cfg, func() time.Time { return c.now }), c
}

func wait(err error) time.Duration {
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Exhausted {
		return -1
	}
	return f.RetryAfter
}

func TestEachCallerHasARate(t *testing.T) {
	l, c := newLimiter(Config{Rate: 2, Burst: 3})
	for i := range 3 {
		if err := l.Call("ann"); err != nil {
			t.Fatalf("call %d of a burst of 3: %v", i, err)
		}
	}
	if got := wait(l.Call("ann")); got != 500*time.Millisecond {
		t.Errorf("the fourth call may come after %v, want 500ms", got)
	}
	if err := l.Call("bob"); err != nil {
		t.Errorf("another caller is refused too: %v", err)
	}
	c.now = c.now.Add(500 * time.Millisecond)
	if err := l.Call("ann"); err != nil {
		t.Errorf("after the time that was said: %v", err)
	}
}

func TestCallsAtOnceAreBounded(t *testing.T) {
	l, _ := newLimiter(Config{Concurrent: 1})
	leave, err := l.Enter()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Enter(); wait(err) <= 0 {
		t.Errorf("a second call: %v", err)
	}
	leave()
	if _, err := l.Enter(); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
}

func TestGuessingIsSlow(t *testing.T) {
	l, c := newLimiter(Default())
	guesses := 0
	for ; l.Guessing("10.0.0.1") == nil; guesses++ {
		l.Failed("10.0.0.1")
	}
	if guesses != failureBurst {
		t.Errorf("%d guesses in no time, want %d", guesses, failureBurst)
	}
	if err := l.Guessing("10.0.0.2"); err != nil {
		t.Errorf("another address: %v", err)
	}
	c.now = c.now.Add(time.Second)
	if err := l.Guessing("10.0.0.1"); err != nil {
		t.Errorf("a second later: %v", err)
	}
}

func TestCountingIsBounded(t *testing.T) {
	l, _ := newLimiter(Default())
	for i := range 2 * maxBuckets {
		if err := l.Call(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(l.buckets); n > maxBuckets {
		t.Errorf("%d callers are counted at once", n)
	}
}

func TestValidate(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []func(*Config){
		func(c *Config) { c.Rate = 0 }, func(c *Config) { c.Burst = 0 }, func(c *Config) { c.Concurrent = 0 },
		func(c *Config) { c.Body = 10 }, func(c *Config) { c.Body = 1 << 30 },
	} {
		c := Default()
		if bad(&c); c.Validate() == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}
