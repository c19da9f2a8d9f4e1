package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

// object is how a test writes one object until that is acknowledged, whatever happens meanwhile: with the etag of the version
// that it changes, so that a write which was given up and comes late takes nothing back.
type object[T proto.Message] struct {
	read  func(ctx context.Context) (T, *typepb.ObjectMeta, error)
	write func(ctx context.Context, o T, exists bool) (*typepb.SourceRevision, error)
	spec  func(T) proto.Message
	make  func(meta *typepb.ObjectMeta) T
}

// put returns once the object is as wanted, with the revision of the write.
func (o object[T]) put(w *world, ctx context.Context, name string) (*typepb.SourceRevision, error) {
	for {
		revision, err := o.try(ctx, name)
		if err == nil {
			return revision, nil
		}
		switch status.Code(err) {
		case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted, codes.AlreadyExists, codes.Canceled, codes.NotFound:
		default:
			w.t.Errorf("write of %s: %v", name, err)
			return nil, err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (o object[T]) try(ctx context.Context, name string) (*typepb.SourceRevision, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	now, meta, err := o.read(ctx)
	exists := status.Code(err) != codes.NotFound
	if err != nil && exists {
		return nil, err
	}
	if !exists {
		meta = &typepb.ObjectMeta{Name: name, Namespace: "default"}
	}
	want := o.make(meta)
	if exists && proto.Equal(o.spec(now), o.spec(want)) {
		// A write that was given up has come through. Its revision is not known: touch the object for one that is.
		meta.Labels = map[string]string{"touched": fmt.Sprint(time.Now().UnixNano())}
		want = o.make(meta)
	}
	return o.write(ctx, want, exists)
}

// allow makes the access policy of reviews name these accounts.
func (w *world) allow(ctx context.Context, accounts ...string) (*typepb.SourceRevision, error) {
	const name = "reviews-callers"
	return object[*policypb.AccessPolicy]{
		read: func(ctx context.Context) (*policypb.AccessPolicy, *typepb.ObjectMeta, error) {
			got, err := w.policy.GetAccessPolicy(ctx, &policypb.GetAccessPolicyRequest{Namespace: "default", Name: name})
			return got.GetAccessPolicy(), got.GetAccessPolicy().GetMetadata(), err
		},
		write: func(ctx context.Context, p *policypb.AccessPolicy, exists bool) (*typepb.SourceRevision, error) {
			if exists {
				got, err := w.policy.UpdateAccessPolicy(ctx, &policypb.UpdateAccessPolicyRequest{AccessPolicy: p})
				return got.GetRevision(), err
			}
			got, err := w.policy.CreateAccessPolicy(ctx, &policypb.CreateAccessPolicyRequest{AccessPolicy: p})
			return got.GetRevision(), err
		},
		spec: func(p *policypb.AccessPolicy) proto.Message { return p.GetSpec() },
		make: func(meta *typepb.ObjectMeta) *policypb.AccessPolicy {
			rule := &policypb.AccessRule{}
			for _, a := range accounts {
				rule.From = append(rule.From, &policypb.AccessSource{Account: a})
			}
			return &policypb.AccessPolicy{Metadata: meta, Spec: &policypb.AccessPolicySpec{
				Destination: &policypb.AccessDestination{Account: "reviews"}, Allow: []*policypb.AccessRule{rule},
			}}
		},
	}.put(w, ctx, name)
}

// send routes all of reviews to one version.
func (w *world) send(ctx context.Context, version string) (*typepb.SourceRevision, error) {
	const name = "reviews"
	return object[*policypb.Route]{
		read: func(ctx context.Context) (*policypb.Route, *typepb.ObjectMeta, error) {
			got, err := w.policy.GetRoute(ctx, &policypb.GetRouteRequest{Namespace: "default", Name: name})
			return got.GetRoute(), got.GetRoute().GetMetadata(), err
		},
		write: func(ctx context.Context, r *policypb.Route, exists bool) (*typepb.SourceRevision, error) {
			if exists {
				got, err := w.policy.UpdateRoute(ctx, &policypb.UpdateRouteRequest{Route: r})
				return got.GetRevision(), err
			}
			got, err := w.policy.CreateRoute(ctx, &policypb.CreateRouteRequest{Route: r})
			return got.GetRevision(), err
		},
		spec: func(r *policypb.Route) proto.Message { return r.GetSpec() },
		make: func(meta *typepb.ObjectMeta) *policypb.Route {
			return &policypb.Route{Metadata: meta, Spec: &policypb.RouteSpec{Service: "reviews", Rules: []*policypb.RouteRule{{
				Backends: []*policypb.Backend{{Service: "reviews", Labels: map[string]string{"version": version}}},
			}}}}
		},
	}.put(w, ctx, name)
}

// truth is what changes have been asked for and which of them everybody has acknowledged. Odd changes send reviews to v2 and
// deny the other account, even ones to v1 and allow it.
type truth struct {
	mu sync.Mutex
	changes
}

// changes are numbers of changes.
type changes struct {
	asked     int // the newest change that may be in force anywhere
	confirmed int // the newest that is in force everywhere
	seen      int // the newest that an answer has shown
}

func (h *truth) held() changes {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes
}

func (h *truth) ask() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	return h.asked
}

func (h *truth) confirm(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.confirmed = max(h.confirmed, n)
}

// version is where change n sends requests.
func version(n int) string { return [...]string{"v1", "v2"}[n%2] }

// route checks that an answer comes from a version that may be in force: never from one that everybody has left, and never
// from an older one than the last answer.
func (h *truth) route(before changes, a answer) error {
	if err := a.failure(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	low, high := max(before.confirmed, before.seen), h.asked
	for n := low; n <= high; n++ {
		if version(n) == a.version {
			h.seen = max(h.seen, n)
			return nil
		}
	}
	return fmt.Errorf("%s answered although changes %d to %d are in force: a sidecar went back", a.version, low, high)
}

// access checks that nobody who is denied gets through.
func (h *truth) access(before changes, a answer) error {
	now := h.held()
	settled := before.confirmed == before.asked && now.asked == before.asked
	switch {
	case a.err != nil:
		return a.err
	case a.status == http.StatusForbidden && settled && now.asked%2 == 0:
		return errors.New("denied although everybody has acknowledged that it is allowed")
	case a.status == http.StatusOK && settled && now.asked%2 == 1:
		return errors.New("allowed although everybody has acknowledged that it is denied")
	case a.status != http.StatusOK && a.status != http.StatusForbidden:
		return a.failure()
	}
	return nil
}
