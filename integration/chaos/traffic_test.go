package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// answer is what one request came to.
type answer struct {
	status  int
	version string // of the instance that answered
	reason  string // why a sidecar refused it
	err     error
}

func (a answer) failure() error {
	if a.err != nil || a.status == http.StatusOK {
		return a.err
	}
	return fmt.Errorf("%d %s", a.status, a.reason)
}

func (a answer) String() string {
	return fmt.Sprintf("%d %s%s (%v)", a.status, a.version, a.reason, a.err)
}

// ask sends one request to reviews, on a connection that is used again.
func ask(ctx context.Context, address string) answer {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/reviews/p", nil)
	if err != nil {
		return answer{err: err}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	out := answer{status: resp.StatusCode, reason: resp.Header.Get("weft-error")}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{err: err}
	}
	if resp.StatusCode == http.StatusOK {
		var review struct{ Version string }
		out.err = json.Unmarshal(body, &review)
		out.version = review.Version
	}
	return out
}

// traffic asks again and again until the test stops it.
type traffic struct {
	stop func()
	mu   sync.Mutex
	sent int
}

// flow sends requests one after the other; judge looks at each with what held before it was sent, and returns what is wrong.
func flow[T any](t *testing.T, address string, before func() T, judge func(T, answer) error) *traffic {
	ctx, cancel := context.WithCancel(t.Context())
	f := &traffic{}
	var running sync.WaitGroup
	running.Go(func() {
		pause := time.NewTicker(10 * time.Millisecond)
		defer pause.Stop()
		for {
			held := before()
			got := ask(ctx, address)
			if ctx.Err() != nil {
				return
			}
			if err := judge(held, got); err != nil {
				t.Errorf("request %d through %s: %v", f.count()+1, address, err)
				return
			}
			f.mu.Lock()
			f.sent++
			f.mu.Unlock()
			select {
			case <-pause.C:
			case <-ctx.Done():
				return
			}
		}
	})
	f.stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(f.stop)
	return f
}

func (f *traffic) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

// steady is traffic of which no request may fail.
func (w *world) steady() *traffic {
	return flow(w.t, w.good, func() struct{} { return struct{}{} }, func(_ struct{}, a answer) error { return a.failure() })
}

// more waits until so many more requests have been answered.
func (w *world) more(f *traffic, n int) {
	w.t.Helper()
	until := f.count() + n
	w.eventually("traffic flows", func() error {
		if got := f.count(); got < until {
			return fmt.Errorf("%d requests were answered, want %d", got, until)
		}
		return nil
	})
}
