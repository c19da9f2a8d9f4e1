package fanouttest

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// patience is how long a test waits for something that should happen at once.
const patience = 30 * time.Second

// Sidecar speaks the client's part of the config stream.
type Sidecar struct {
	t        testing.TB
	ns, name string

	mu       sync.Mutex
	changed  chan struct{}
	held     map[string]*configpb.Resource
	offered  map[string]string
	index    map[uint32]*configpb.IndexShard
	removed  []string // every name that was ever removed, in order
	vector   model.Vector
	services map[string]bool
	places   map[string]bool // IP addresses
	updates  int
	received int // resources and shards
	current  bool
	away     time.Duration
	refuse   map[string]string // reason by name
	silent   bool
	unacked  []uint64
	stream   configpb.ConfigService_StreamClient
	stop     context.CancelFunc
	err      error
	ended    bool
}

// New makes a sidecar that holds nothing.
func New(t testing.TB, namespace, workload string, services ...string) *Sidecar {
	s := &Sidecar{
		t: t, ns: namespace, name: workload, changed: make(chan struct{}),
		held: map[string]*configpb.Resource{}, offered: map[string]string{}, index: map[uint32]*configpb.IndexShard{},
		services: map[string]bool{}, places: map[string]bool{}, refuse: map[string]string{},
	}
	for _, name := range services {
		s.services[name] = true
	}
	return s
}

// Connect opens a stream with what the sidecar holds. It ends with the test, or with Disconnect.
func (s *Sidecar) Connect(conn grpc.ClientConnInterface) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := configpb.NewConfigServiceClient(conn).Stream(ctx)
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.stream, s.stop, s.err, s.ended, s.current, s.away = stream, cancel, nil, false, false, 0
	s.updates, s.received, s.unacked = 0, 0, nil
	open := &configpb.Open{
		Namespace: s.ns, Workload: s.name, Services: slices.Sorted(maps.Keys(s.services)), Addresses: slices.Sorted(maps.Keys(s.places)),
		InitialVersions: map[string]string{}, Applied: modelpb.VectorToProto(s.vector), BuildVersion: "test",
		SvidExpireSeconds: 1_900_000_000,
	}
	s.offered = map[string]string{}
	for name, r := range s.held {
		open.InitialVersions[name] = r.GetVersion()
		s.offered[name] = r.GetVersion()
	}
	for n, shard := range s.index {
		open.IndexVersions = append(open.IndexVersions, &configpb.IndexShardVersion{Shard: n, Version: shard.GetVersion()})
	}
	s.mu.Unlock()
	s.send(&configpb.StreamRequest{Request: &configpb.StreamRequest_Open{Open: open}})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.receive(stream)
	}()
	s.t.Cleanup(func() {
		cancel()
		<-done
	})
}

// Disconnect ends the stream and waits until it has ended.
func (s *Sidecar) Disconnect() {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	_ = s.Ended()
}

// Subscribe adds and removes services.
func (s *Sidecar) Subscribe(add, remove []string) {
	s.mu.Lock()
	for _, name := range add {
		s.services[name] = true
	}
	for _, name := range remove {
		delete(s.services, name)
	}
	s.mu.Unlock()
	s.send(&configpb.StreamRequest{Request: &configpb.StreamRequest_Subscribe{Subscribe: &configpb.Subscribe{Add: add, Remove: remove}}})
}

// Ask adds and removes IP addresses.
func (s *Sidecar) Ask(add, remove []string) {
	s.mu.Lock()
	for _, a := range add {
		s.places[a] = true
	}
	for _, a := range remove {
		delete(s.places, a)
	}
	s.mu.Unlock()
	s.send(&configpb.StreamRequest{Request: &configpb.StreamRequest_Subscribe{Subscribe: &configpb.Subscribe{AddAddresses: add, RemoveAddresses: remove}}})
}

// Send sends any request.
func (s *Sidecar) Send(r *configpb.StreamRequest) { s.send(r) }

// Refuse makes the sidecar nack a resource from now on; an empty reason makes it accept again.
func (s *Sidecar) Refuse(name, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse[name] = reason
	if reason == "" {
		delete(s.refuse, name)
	}
}

// Silence makes the sidecar apply, but not acknowledge; with false it acknowledges what it owes.
func (s *Sidecar) Silence(yes bool) {
	s.mu.Lock()
	s.silent = yes
	owed := s.unacked
	s.unacked = nil
	s.mu.Unlock()
	for _, nonce := range owed {
		s.send(&configpb.StreamRequest{Request: &configpb.StreamRequest_Ack{Ack: &configpb.Ack{Nonce: nonce}}})
	}
}

// send ignores failures: the receiver learns why.
func (s *Sidecar) send(r *configpb.StreamRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.stream.Send(r)
}

func (s *Sidecar) receive(stream configpb.ConfigService_StreamClient) {
	for {
		response, err := stream.Recv()
		s.mu.Lock()
		switch {
		case err != nil:
			s.err, s.ended = err, true
		case response.GetGoAway() != nil:
			s.away = response.GetGoAway().GetWithin().AsDuration()
		default:
			s.apply(response.GetUpdate())
		}
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
		if err != nil {
			return
		}
	}
}
