package controltest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

// Distributor sends each workload what the test has set for it, whole, whenever that changes.
type Distributor struct {
	configpb.UnimplementedConfigServiceServer

	mu      sync.Mutex
	wanted  map[string][]*configpb.Resource // by "namespace/workload"
	index   []*configpb.IndexShard
	seq     uint64
	acked   map[string]uint64 // seq that a workload has acknowledged
	nacks   []*configpb.Nack
	changed chan struct{}
}

func (s *Distributor) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Distributor) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Set makes this the configuration of a workload; versions are made from the number of the change.
func (s *Distributor) Set(workload string, resources ...*configpb.Resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	for _, r := range resources {
		r.Version = fmt.Sprint("v", s.seq)
	}
	s.wanted[workload] = resources
	s.change()
}

// SetIndex makes this the index of the mesh.
func (s *Distributor) SetIndex(shards ...*configpb.IndexShard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index = shards
	s.change()
}

// AwaitAck waits until a workload has acknowledged what was set last.
func (s *Distributor) AwaitAck(ctx context.Context, workload string) error {
	return await(ctx, s.changes, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.wanted[workload] != nil && s.acked[workload] == s.seq
	})
}

// Nacks are all refusals.
func (s *Distributor) Nacks() []*configpb.Nack {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.nacks)
}

// Stream serves one sidecar.
func (s *Distributor) Stream(st configpb.ConfigService_StreamServer) error {
	account, err := caller(st.Context())
	if err != nil {
		return err
	}
	first, err := st.Recv()
	if err != nil {
		return err
	}
	open := first.GetOpen()
	if open.GetNamespace() != account.Namespace {
		return status.Errorf(codes.PermissionDenied, "%q may not have the configuration of %q", account, open.GetWorkload())
	}
	name := open.GetNamespace() + "/" + open.GetWorkload()
	for nonce := uint64(1); ; nonce++ {
		changed := s.changes()
		u, seq := s.update(name, nonce)
		if err := st.Send(&configpb.StreamResponse{Response: &configpb.StreamResponse_Update{Update: u}}); err != nil {
			return err
		}
		if err := s.ack(st, name, seq); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-st.Context().Done():
			return nil
		}
	}
}

func (s *Distributor) ack(st configpb.ConfigService_StreamServer, name string, seq uint64) error {
	for {
		r, err := st.Recv()
		if err != nil {
			return err
		}
		if a := r.GetAck(); a != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.acked == nil {
				s.acked = map[string]uint64{}
			}
			if s.acked[name] != seq || len(a.GetNacks()) > 0 {
				s.acked[name] = seq
				s.nacks = append(s.nacks, a.GetNacks()...)
				s.change() // streams send again what nobody lacks, which is harmless
			}
			return nil
		}
	}
}

func (s *Distributor) update(name string, nonce uint64) (*configpb.Update, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	versions := map[string]string{}
	for _, r := range s.wanted[name] {
		versions[r.GetName()] = r.GetVersion()
	}
	h := sha256.New()
	for _, n := range slices.Sorted(maps.Keys(versions)) {
		fmt.Fprintf(h, "%s\x00%s\n", n, versions[n])
	}
	return &configpb.Update{
		Nonce: nonce, Resources: s.wanted[name], Index: s.index, Current: true, Digest: h.Sum(nil)[:8],
		Vector: &typepb.RevisionVector{Revisions: []*typepb.SourceRevision{{Source: typepb.Source_SOURCE_POLICY, Epoch: "test", Seq: s.seq}}},
	}, s.seq
}
