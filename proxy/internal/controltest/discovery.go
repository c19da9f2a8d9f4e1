package controltest

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

// Discovery holds the workloads that registered. Without leases: only Deregister removes.
type Discovery struct {
	discoverypb.UnimplementedDiscoveryServiceServer

	mu         sync.Mutex
	workloads  map[string]*discoverypb.Workload // "namespace/name"
	ends       map[string]chan struct{}         // ends the stream of a workload that is deregistered, as the real service does
	refuse     string
	slowAnswer time.Duration
	heartbeats int
	removals   int
	revision   uint64
	changed    chan struct{}
}

func (s *Discovery) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Discovery) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Refuse makes every registration end with PERMISSION_DENIED and this reason; empty: none.
func (s *Discovery) Refuse(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = reason
}

// AnswerDeregisterAfter makes the answer of Deregister come this much later than the end of the workload's stream, or when
// the caller has gone.
func (s *Discovery) AnswerDeregisterAfter(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slowAnswer = d
}

// Await waits until the workload ("namespace/name") is registered, or is not, and returns it.
func (s *Discovery) Await(ctx context.Context, name string, there bool) (*discoverypb.Workload, error) {
	var w *discoverypb.Workload
	err := await(ctx, s.changes, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		w = s.workloads[name]
		return (w != nil) == there
	})
	return w, err
}

// AwaitHeartbeats waits until n heartbeats have come in all.
func (s *Discovery) AwaitHeartbeats(ctx context.Context, n int) error {
	return await(ctx, s.changes, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.heartbeats >= n
	})
}

// Removals counts the workloads that were deregistered.
func (s *Discovery) Removals() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removals
}

// Register keeps a workload.
func (s *Discovery) Register(st discoverypb.DiscoveryService_RegisterServer) error {
	account, err := caller(st.Context())
	if err != nil {
		return err
	}
	removed, over := make(chan struct{}), make(chan error, 1)
	go func() { over <- s.receive(st, account.Namespace, removed) }()
	select {
	case err := <-over:
		return err
	case <-removed:
		return status.Error(codes.Unavailable, "workload was removed; register again")
	}
}

func (s *Discovery) receive(st discoverypb.DiscoveryService_RegisterServer, namespace string, removed chan struct{}) error {
	for {
		r, err := st.Recv()
		if err != nil {
			return nil
		}
		if r.GetHeartbeat() != nil {
			s.mu.Lock()
			s.heartbeats++
			s.change()
			s.mu.Unlock()
			continue
		}
		w := r.GetWorkload()
		if w.GetMetadata().GetNamespace() != namespace {
			return status.Errorf(codes.PermissionDenied, "workload of namespace %q, caller is in %q", w.GetMetadata().GetNamespace(), namespace)
		}
		answer, err := s.register(w, removed)
		if err != nil {
			return err
		}
		if err := st.Send(answer); err != nil {
			return err
		}
	}
}

func (s *Discovery) register(w *discoverypb.Workload, removed chan struct{}) (*discoverypb.RegisterResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != "" {
		return nil, status.Error(codes.PermissionDenied, s.refuse)
	}
	s.revision++
	s.workloads[key(w.GetMetadata())] = w
	s.ends[key(w.GetMetadata())] = removed
	s.change()
	return &discoverypb.RegisterResponse{
		Workload: w, Revision: s.at(), HeartbeatInterval: durationpb.New(20 * time.Millisecond), Lease: durationpb.New(10 * time.Second),
	}, nil
}

// Deregister removes a workload.
func (s *Discovery) Deregister(ctx context.Context, r *discoverypb.DeregisterRequest) (*discoverypb.DeregisterResponse, error) {
	account, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	name := account.Namespace + "/" + r.GetName()
	s.mu.Lock()
	if s.workloads[name] == nil {
		s.mu.Unlock()
		return nil, status.Errorf(codes.NotFound, "workload %q does not exist", name)
	}
	delete(s.workloads, name)
	s.removals++
	close(s.ends[name])
	s.revision++
	s.change()
	revision, slow := s.at(), s.slowAnswer
	s.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
		}
	}
	return &discoverypb.DeregisterResponse{Revision: revision}, nil
}

func (s *Discovery) at() *typepb.SourceRevision {
	return &typepb.SourceRevision{Source: typepb.Source_SOURCE_DISCOVERY, Epoch: "test", Seq: s.revision}
}

// Endpoints are the registered workloads of a service.
func (s *Discovery) Endpoints(service string) []*discoverypb.Workload {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*discoverypb.Workload
	for _, w := range s.workloads {
		if slices.Contains(w.GetSpec().GetServices(), service) {
			out = append(out, w)
		}
	}
	return out
}

func key(m *typepb.ObjectMeta) string { return m.GetNamespace() + "/" + m.GetName() }

// Forget drops a workload, as a restored store would.
func (s *Discovery) Forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.workloads, name)
	s.change()
}
