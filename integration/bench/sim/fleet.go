package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
)

// Fleet is the sidecars of one process.
type Fleet struct {
	sidecars []*sidecar
	byName   map[string]*sidecar

	mu        sync.Mutex
	addresses []string // of the distributor's replicas
	catalogue string   // address of discovery
	run       sync.WaitGroup

	registered, heartbeats     atomic.Int64
	updates, resources, shards atomic.Int64
	streamsEnded, leasesEnded  atomic.Int64
}

// maxComplaints bounds the errors of one kind that are told on standard error.
const maxComplaints = 3

func newFleet(specs []Sidecar, discovery string) *Fleet {
	f := &Fleet{catalogue: discovery, byName: map[string]*sidecar{}}
	for _, spec := range specs {
		s := &sidecar{Sidecar: spec, fleet: f, held: newHeld(), behaved: make(chan struct{}, 1)}
		s.behaviour.Store(Well)
		f.sidecars = append(f.sidecars, s)
		f.byName[spec.Name] = s
	}
	return f
}

// identify gets an SVID for every sidecar: one token for each account, one key for each sidecar.
func (f *Fleet) identify(ctx context.Context, tokens map[string]string) error {
	accounts := map[string][]*sidecar{}
	for _, s := range f.sidecars {
		accounts[s.Account] = append(accounts[s.Account], s)
	}
	return each(8, keysOf(accounts), func(account string) error {
		members := accounts[account]
		svids, err := issue(ctx, tokens[account], len(members))
		if err != nil {
			return fmt.Errorf("identity of account %s: %w", account, err)
		}
		for i, s := range members {
			s.source = spiffe.NewSource(svids[i])
		}
		return nil
	})
}

// register registers every sidecar, so many a second, and returns when all are. They stay registered until ctx ends.
func (f *Fleet) register(ctx, wait context.Context, perSecond int) error {
	f.start(ctx, perSecond, (*sidecar).keepRegistered)
	return until(wait, func() bool { return f.registered.Load() == int64(len(f.sidecars)) })
}

// connect opens the config stream of every sidecar, so many a second, and returns when all have everything. They follow until
// ctx ends.
func (f *Fleet) connect(ctx, wait context.Context, perSecond int, distributors []string) error {
	f.setDistributors(distributors)
	f.start(ctx, perSecond, (*sidecar).follow)
	return until(wait, f.synced)
}

func (f *Fleet) start(ctx context.Context, perSecond int, what func(*sidecar, context.Context)) {
	pace := time.NewTicker(time.Second / time.Duration(perSecond))
	defer pace.Stop()
	for _, s := range f.sidecars {
		<-pace.C
		f.run.Go(func() { what(s, ctx) })
	}
}

// move ends every stream, so many a second, so that the sidecars spread over the replicas that there are now, and returns when
// all have everything again.
func (f *Fleet) move(ctx context.Context, perSecond int, distributors []string) error {
	f.setDistributors(distributors)
	pace := time.NewTicker(time.Second / time.Duration(perSecond))
	defer pace.Stop()
	for _, s := range f.sidecars {
		<-pace.C
		s.mu.Lock()
		s.synced = 0
		s.drop()
		s.mu.Unlock()
	}
	return until(ctx, f.synced)
}

// synced says whether every sidecar has a stream that sent everything; those that do not acknowledge never have.
func (f *Fleet) synced() bool {
	for _, s := range f.sidecars {
		s.mu.Lock()
		there := s.synced != 0
		s.mu.Unlock()
		if b := s.behaves(); !there && b != Mute && b != Deaf {
			return false
		}
	}
	return true
}

func (f *Fleet) distributors() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.addresses
}

func (f *Fleet) setDistributors(addresses []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addresses = addresses
}

func (f *Fleet) discovery() string { return f.catalogue }

func (f *Fleet) acked(u *configpb.Update) {
	f.updates.Add(1)
	f.resources.Add(int64(len(u.GetResources()) + len(u.GetRemoved())))
	f.shards.Add(int64(len(u.GetIndex())))
}

func (f *Fleet) ended(err error) {
	f.complain("config stream ended", err, f.streamsEnded.Add(1))
}

func (f *Fleet) unregistered(err error) {
	f.complain("registration ended", err, f.leasesEnded.Add(1))
}

func (f *Fleet) complain(what string, err error, nth int64) {
	if !errors.Is(err, errMove) && nth <= maxComplaints {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
	}
}
