package chaos

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/integration/harness"
)

// writeTime bounds one write of the tests.
const writeTime = 15 * time.Second

// ledger writes objects one after the other and remembers which were acknowledged.
type ledger struct {
	w      *world
	name   string
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	written map[string]bool
	refused int
	last    error         // of a write that was refused
	longest time.Duration // between two acknowledged writes
	wrong   []string      // refusals that are not readable
}

func (w *world) newLedger(name string) *ledger {
	ctx, cancel := context.WithCancel(w.t.Context())
	l := &ledger{w: w, name: name, cancel: cancel, written: map[string]bool{}}
	l.done.Go(func() { l.run(ctx) })
	w.t.Cleanup(l.stop)
	return l
}

func (l *ledger) stop() {
	l.cancel()
	l.done.Wait()
}

// run writes policies for accounts that nobody has, so that traffic does not notice.
func (l *ledger) run(ctx context.Context) {
	last := time.Now()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("%s-%d", l.name, n)
		err := l.w.create(ctx, name)
		now := time.Now()
		l.mu.Lock()
		switch {
		case err == nil:
			l.written[name] = true
			l.longest = max(l.longest, now.Sub(last))
			last = now
		case ctx.Err() == nil:
			l.refused++
			l.last = err
			if c := status.Code(err); c != codes.Unavailable && c != codes.DeadlineExceeded {
				l.wrong = append(l.wrong, err.Error())
			}
		}
		l.mu.Unlock()
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
}

func (w *world) create(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	_, err := w.policy.CreateAccessPolicy(ctx, &policypb.CreateAccessPolicyRequest{AccessPolicy: &policypb.AccessPolicy{
		Metadata: &typepb.ObjectMeta{Name: name, Namespace: "default"},
		Spec:     &policypb.AccessPolicySpec{Destination: &policypb.AccessDestination{Account: name}},
	}})
	return err
}

// count is how many writes were acknowledged so far.
func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.written)
}

// more waits until so many more writes were acknowledged.
func (l *ledger) more(n int) {
	l.w.t.Helper()
	until := l.count() + n
	l.w.eventually("writes are taken", func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.wrong) > 0 {
			return harness.Fatal{Err: errors.New(l.wrong[0])}
		}
		if got := len(l.written); got < until {
			return fmt.Errorf("%d writes were acknowledged, want %d; last refused: %w", got, until, l.last)
		}
		return nil
	})
}

// audit stops the ledger and checks that everything that was acknowledged is there.
func (l *ledger) audit() {
	l.w.t.Helper()
	l.stop()
	there := map[string]bool{}
	l.w.eventually("list what was written", func() error {
		clear(there)
		for token := ""; ; {
			page, err := l.w.policy.ListAccessPolicies(l.w.t.Context(), &policypb.ListAccessPoliciesRequest{PageSize: 1000, PageToken: token})
			if err != nil {
				return err
			}
			for _, p := range page.GetAccessPolicies() {
				there[p.GetMetadata().GetName()] = true
			}
			if token = page.GetNextPageToken(); token == "" {
				return nil
			}
		}
	})
	lost := 0
	for name := range l.written {
		if !there[name] {
			lost++
			l.w.t.Errorf("%s was acknowledged and is lost", name)
		}
	}
	for _, text := range l.wrong {
		l.w.t.Errorf("a write was refused with %s, want UNAVAILABLE", text)
	}
	l.w.t.Logf("%s: %d writes acknowledged, %d lost, %d refused, at most %v without one", l.name, len(l.written), lost, l.refused, l.longest.Round(time.Millisecond))
}
