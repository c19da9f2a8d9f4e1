package audit

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
)

type rig struct {
	*Log
	store *memkv.Store
	lines *observer.ObservedLogs
	now   time.Time
}

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	core, lines := observer.New(zap.InfoLevel)
	r := &rig{store: memkv.New(), lines: lines, now: time.Date(2026, 3, 1, 23, 0, 0, 0, time.UTC)}
	var err error
	r.Log, err = New(cfg, Deps{Log: zap.New(core), Store: r.store, Metrics: prometheus.NewRegistry(), Now: func() time.Time { return r.now }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// write adds an event an hour after the last.
func (r *rig) write(t *testing.T, id, principal, code string, objects ...*typepb.ObjectRef) {
	t.Helper()
	r.now = r.now.Add(time.Hour)
	r.Write(t.Context(), &adminpb.AuditEvent{RequestId: id, Time: timestamppb.New(r.now), Principal: principal, Code: code, Objects: objects})
}

func ref(kind, namespace string) *typepb.ObjectRef {
	return &typepb.ObjectRef{Kind: kind, Namespace: namespace}
}

func ids(events []*adminpb.AuditEvent) []string {
	var out []string
	for _, e := range events {
		out = append(out, e.GetRequestId())
	}
	return out
}

func fill(t *testing.T, r *rig) {
	t.Helper()
	r.write(t, "1", "ann", "OK", ref("Route", "shop"))
	r.write(t, "2", "bob", "PermissionDenied", ref("Route", "bank"))
	r.write(t, "3", "ann", "OK", ref("AdminToken", ""))
	r.write(t, "4", "ann", "OK", ref("Route", "shop"), ref("Service", "bank"))
	r.write(t, "5", "", "Unauthenticated")
}

func TestWhoFindsWhat(t *testing.T) {
	r := newRig(t, Default())
	fill(t, r)
	everything := Reader{All: true}
	for _, test := range []struct {
		name   string
		reader Reader
		filter *adminpb.AuditFilter
		want   []string
	}{
		{"all", everything, nil, []string{"1", "2", "3", "4", "5"}},
		{"since", everything, &adminpb.AuditFilter{Since: timestamppb.New(r.now.Add(-90 * time.Minute))}, []string{"4", "5"}},
		{"between", everything, &adminpb.AuditFilter{Since: timestamppb.New(r.now.Add(-3 * time.Hour)), Until: timestamppb.New(r.now.Add(-time.Hour))}, []string{"2", "3"}},
		{"long ago", everything, &adminpb.AuditFilter{Since: timestamppb.New(r.now.Add(-1000 * time.Hour))}, []string{"1", "2", "3", "4", "5"}},
		{"in the future", everything, &adminpb.AuditFilter{Since: timestamppb.New(r.now.Add(1000 * time.Hour))}, nil},
		{"principal", everything, &adminpb.AuditFilter{Principal: "bob"}, []string{"2"}},
		{"namespace", everything, &adminpb.AuditFilter{Namespace: "bank"}, []string{"2", "4"}},
		{"kind", everything, &adminpb.AuditFilter{Kind: "AdminToken"}, []string{"3"}},
		{"failed", everything, &adminpb.AuditFilter{Failed: true}, []string{"2", "5"}},
		{"of one namespace", Reader{Namespaces: []string{"shop"}}, nil, []string{"1"}},
		{"of two", Reader{Namespaces: []string{"bank", "shop"}}, nil, []string{"1", "2", "4"}},
		{"of none", Reader{}, nil, nil},
	} {
		got, err := r.List(t.Context(), test.reader, &adminpb.ListAuditEventsRequest{Filter: test.filter})
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, ids(got.GetEvents())); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
	_, err := r.List(t.Context(), everything, &adminpb.ListAuditEventsRequest{Filter: &adminpb.AuditFilter{Since: &timestamppb.Timestamp{Nanos: -1}}})
	if !fault.Is(err, fault.Invalid) {
		t.Errorf("a time that is none: %v", err)
	}
}

func TestPagesGoOnWhileEventsAreWritten(t *testing.T) {
	r := newRig(t, Default())
	fill(t, r)
	var got []string
	req := &adminpb.ListAuditEventsRequest{PageSize: 2}
	for {
		page, err := r.List(t.Context(), Reader{All: true}, req)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ids(page.GetEvents())...)
		if len(got) == 2 {
			r.write(t, "6", "ann", "OK")
		}
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"1", "2", "3", "4", "5", "6"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWatchSendsThePastThatIsWantedAndThenWhatHappens(t *testing.T) {
	for name, test := range map[string]struct {
		filter *adminpb.AuditFilter
		want   []string
	}{
		"without the past": {&adminpb.AuditFilter{Principal: "ann"}, []string{"new"}},
		"since":            {&adminpb.AuditFilter{Principal: "ann", Since: timestamppb.New(time.Date(2026, 3, 2, 1, 30, 0, 0, time.UTC))}, []string{"3", "4", "new"}},
	} {
		r := newRig(t, Default())
		fill(t, r)
		ctx, cancel := context.WithCancelCause(t.Context())
		var got []string
		begun := func() error {
			go func() {
				for _, who := range []string{"bob", "ann"} {
					r.Write(ctx, &adminpb.AuditEvent{RequestId: "new", Time: timestamppb.New(r.now), Principal: who, Code: "OK"})
				}
			}()
			return nil
		}
		done := errors.New("seen enough")
		err := r.Watch(ctx, Reader{All: true}, test.filter, begun, func(e *adminpb.AuditEvent) error {
			if got = append(got, e.GetRequestId()); e.GetRequestId() == "new" {
				cancel(done)
			}
			return nil
		})
		if diff := cmp.Diff(test.want, got); diff != "" || !errors.Is(err, done) {
			t.Errorf("%s: %v: %s", name, err, diff)
		}
	}
}

func TestWhatIsTooOldOrTooMuchGoes(t *testing.T) {
	r := newRig(t, Config{MaxEvents: 3, MaxAge: 100 * time.Hour})
	fill(t, r)
	list := func() []string {
		if err := r.sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := r.List(t.Context(), Reader{All: true}, &adminpb.ListAuditEventsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return ids(got.GetEvents())
	}
	if diff := cmp.Diff([]string{"3", "4", "5"}, list()); diff != "" {
		t.Error(diff)
	}
	r.now = r.now.Add(99*time.Hour + 30*time.Minute) // 4 is 100.5 hours old now
	if diff := cmp.Diff([]string{"5"}, list()); diff != "" {
		t.Error(diff)
	}
}

// Run looks as soon as a tenth of what may be kept was written, without waiting for its time.
func TestAFloodIsSweptAtOnce(t *testing.T) {
	r := newRig(t, Config{MaxEvents: 20, MaxAge: 100 * time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	watch, err := r.store.Watch(ctx, prefix, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		r.Write(ctx, &adminpb.AuditEvent{RequestId: fmt.Sprint(i), Time: timestamppb.New(r.now.Add(time.Duration(i)))})
	}
	for deleted := 0; deleted < 10; {
		batch, err := watch.Next()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range batch.Events {
			if e.Deleted {
				deleted++
			}
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAnEventThatTheStoreDoesNotTakeIsInTheLog(t *testing.T) {
	r := newRig(t, Default())
	r.store.FailNext(kv.ErrClosed)
	r.write(t, "lost", "ann", "OK", ref("Route", "shop"))
	if got := testutil.ToFloat64(r.missing); got != 1 {
		t.Errorf("%g events are counted as missing", got)
	}
	if n := r.lines.FilterMessage("audit").FilterField(zap.String("request_id", "lost")).Len(); n != 1 {
		t.Errorf("it is in the log %d times", n)
	}
}
