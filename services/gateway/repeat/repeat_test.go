package repeat

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

type rig struct {
	store *memkv.Store
	now   time.Time
}

func newRig() *rig { return &rig{store: memkv.New(), now: time.Unix(1_000_000, 0)} }

// replica is one of the gateway.
func (r *rig) replica() *Keeper {
	return New(Config{Window: time.Hour}, r.store, zap.NewNop(), func() time.Time { return r.now })
}

func (r *rig) call(key, request string) Call {
	return Call{Caller: "ann", Key: key, Method: "/m", Request: []byte(request), Deadline: r.now.Add(time.Minute)}
}

func TestTheSameCallGetsTheSameAnswerEverywhere(t *testing.T) {
	r := newRig()
	answer, run, err := r.replica().Begin(t.Context(), r.call("k", "x"))
	if err != nil || answer != nil {
		t.Fatalf("%v, %v", answer, err)
	}
	if _, _, err := r.replica().Begin(t.Context(), r.call("k", "x")); !fault.Is(err, fault.Conflict) {
		t.Errorf("while the first runs: %v", err)
	}
	run.Finish(t.Context(), []byte("made"), status.New(codes.OK, ""), false)
	answer, _, err = r.replica().Begin(t.Context(), r.call("k", "x"))
	if err != nil || answer == nil || string(answer.Response) != "made" {
		t.Errorf("again: %v, %v", answer, err)
	}
	var f *fault.Error
	if _, _, err := r.replica().Begin(t.Context(), r.call("k", "y")); !errors.As(err, &f) || f.Kind != fault.Invalid || f.Fields[0].Path != Header {
		t.Errorf("another request: %v", err)
	}
	other := r.call("k", "y")
	other.Caller = "bob"
	if _, run, err := r.replica().Begin(t.Context(), other); err != nil || run == nil {
		t.Errorf("another caller's key: %v", err)
	}
}

func TestErrorsAreAnswersTooUnlessTheyLeaveOpenWhatHappened(t *testing.T) {
	r := newRig()
	for code, kept := range map[codes.Code]bool{
		codes.InvalidArgument: true, codes.NotFound: true, codes.AlreadyExists: true, codes.Aborted: true,
		codes.Unavailable: false, codes.DeadlineExceeded: false, codes.Internal: false, codes.Canceled: false,
	} {
		_, run, err := r.replica().Begin(t.Context(), r.call(code.String(), "x"))
		if err != nil {
			t.Fatal(err)
		}
		run.Finish(t.Context(), nil, status.New(code, "because"), false)
		answer, again, err := r.replica().Begin(t.Context(), r.call(code.String(), "x"))
		switch {
		case err != nil:
			t.Errorf("%s: %v", code, err)
		case kept && (answer == nil || status.Code(answer.Err) != code):
			t.Errorf("%s is not given again: %v", code, answer)
		case !kept && again == nil:
			t.Errorf("%s keeps the call from being made again", code)
		}
	}
}

func TestSecretsAndLargeAnswersAreNotKept(t *testing.T) {
	r := newRig()
	for name, response := range map[string][]byte{"secret": []byte("SECRET"), "large": make([]byte, maxAnswer+1)} {
		_, run, err := r.replica().Begin(t.Context(), r.call(name, "x"))
		if err != nil {
			t.Fatal(err)
		}
		run.Finish(t.Context(), response, status.New(codes.OK, ""), name == "secret")
		if _, _, err := r.replica().Begin(t.Context(), r.call(name, "x")); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "was carried out at") {
			t.Errorf("%s: %v", name, err)
		}
	}
	entries, _, err := r.store.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(string(e.Value), "SECRET") || len(e.Value) > maxAnswer {
			t.Error("it is in the store")
		}
	}
}

func TestOnlyOneReplicaCarriesACallOut(t *testing.T) {
	r := newRig()
	var ran atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, run, err := r.replica().Begin(t.Context(), r.call("k", "x"))
			if run != nil {
				ran.Add(1)
			} else if !fault.Is(err, fault.Conflict) {
				t.Errorf("neither run nor conflict: %v", err)
			}
		})
	}
	wg.Wait()
	if ran.Load() != 1 {
		t.Errorf("%d of 8 ran", ran.Load())
	}
}

// A replica that dies while it carries a call out keeps nobody waiting for ever; old answers are forgotten.
func TestKeysEnd(t *testing.T) {
	r := newRig()
	if _, run, err := r.replica().Begin(t.Context(), r.call("k", "x")); run == nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(time.Minute + slack) // the first has died
	_, run, err := r.replica().Begin(t.Context(), r.call("k", "x"))
	if run == nil {
		t.Fatalf("after the first must have died: %v", err)
	}
	run.Finish(t.Context(), []byte("made"), status.New(codes.OK, ""), false)
	if err := r.replica().sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if answer, _, _ := r.replica().Begin(t.Context(), r.call("k", "x")); answer == nil {
		t.Error("a sweep removed an answer before its time")
	}
	r.now = r.now.Add(time.Hour)
	if err := r.replica().sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entries, _, err := r.store.List(t.Context(), ""); err != nil || len(entries) != 0 {
		t.Errorf("left after its time: %v, %v", entries, err)
	}
}

func TestKeysThatAreNone(t *testing.T) {
	r := newRig()
	for _, key := range []string{"", "a b", "ü", "a,b\n", strings.Repeat("x", 129)} {
		if _, _, err := r.replica().Begin(t.Context(), r.call(key, "x")); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), Header) {
			t.Errorf("%q: %v", key, err)
		}
	}
	r.store.FailNext(kv.ErrClosed)
	if _, _, err := r.replica().Begin(t.Context(), r.call("k", "x")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("without a store: %v", err)
	}
}
