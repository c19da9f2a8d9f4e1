package identity_test

import (
	"context"
	"crypto/elliptic"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/identity/ca/builtin"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
	"github.com/weft-mesh/weft/services/internal/model"
)

func toText(v any) string { return fmt.Sprint(v) }

// always is a mesh that applies everything at once.
type always struct{}

func (always) Applied(context.Context, model.Revision) (bool, string, error) { return true, "", nil }

// mesh answers as it is told.
type mesh struct {
	applied  atomic.Bool
	away     atomic.Bool
	asked    atomic.Int64
	revision atomic.Uint64
}

func (m *mesh) Applied(_ context.Context, r model.Revision) (bool, string, error) {
	m.asked.Add(1)
	m.revision.Store(r.Seq)
	if m.away.Load() {
		return false, "", errors.New("connection refused")
	}
	return m.applied.Load(), "sidecars have not applied the bundle: default/web", nil
}

// signs asks for an SVID with an empty CSR: what is refused before the CSR is looked at is the authority.
func signs(t *testing.T, p *parts) error {
	t.Helper()
	s := &oneRequest{ctx: t.Context(), req: &identitypb.IssueX509SVIDRequest{}}
	err := p.service.IssueX509SVID(s)
	if fault.Is(err, fault.Invalid) {
		return nil
	}
	return err
}

func waitSigns(t *testing.T, r *replica) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for signs(t, r.parts) != nil {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal(signs(t, r.parts))
		}
	}
}

func TestID2_BundleIsTheUnionOfAllReplicas(t *testing.T) {
	store := memkv.New()
	a := start(t, store, "a")
	watch, err := a.gateway(t).WatchBundles(t.Context(), &identitypb.WatchBundlesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := watch.Recv()
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, store, "b", withConvergence(always{}))
	second, err := watch.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if n, m := len(first.GetBundle().GetX509Authorities()), len(second.GetBundle().GetX509Authorities()); n != 1 || m != 2 {
		t.Fatalf("bundle has %d, then %d authorities, want 1, then 2", n, m)
	}
	if was, is := first.GetBundle().GetRevision().GetSeq(), second.GetBundle().GetRevision().GetSeq(); is <= was {
		t.Errorf("revision went from %d to %d", was, is)
	}
	got, err := b.anonymous(t, anybody).GetBundle(t.Context(), &identitypb.GetBundleRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(second.GetBundle(), got.GetBundle(), protocmp.Transform()); diff != "" {
		t.Errorf("the two replicas have different bundles (-a +b):\n%s", diff)
	}
	// Each replica's SVIDs are good at the other.
	waitSigns(t, b)
	web := b.join(t, a.token(t, "web"))
	web.Bundle = bundleOf(t, got.GetBundle())
	_, csr := newCSR(t, elliptic.P256())
	if _, err := issue(t, a.as(t, web), &identitypb.IssueX509SVIDRequest{Csr: csr}); err != nil {
		t.Errorf("a does not take an SVID of b: %v", err)
	}
}

// TestE2_LaterRootSignsOnlyOnceTheMeshHasIt goes through what the distributor may say.
func TestE2_LaterRootSignsOnlyOnceTheMeshHasIt(t *testing.T) {
	dirs := [2]string{t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		store := memkv.New()
		a := newParts(t, store, dirs[0], "a", withConvergence(never(t)))
		run(t, a.service.Run)
		synctest.Wait()
		if err := signs(t, a); err != nil {
			t.Fatalf("the first root of a store does not sign at once: %v", err)
		}
		m := &mesh{}
		b := newParts(t, store, dirs[1], "b", withConvergence(m), withGrace(15*time.Second))
		stop := run(t, b.service.Run)
		time.Sleep(time.Hour)
		err := signs(t, b)
		if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "default/web") {
			t.Fatalf("a root that a sidecar lacks: error is %v, want Unavailable with its name", err)
		}
		if err := b.service.Ready(); err != nil {
			t.Errorf("a replica that cannot sign yet must still serve bundles: %v", err)
		}
		m.away.Store(true) // for less than the grace
		time.Sleep(14 * time.Second)
		if signs(t, b) == nil {
			t.Error("signs before the grace is over")
		}
		m.away.Store(false)
		m.applied.Store(true)
		time.Sleep(time.Second)
		if err := signs(t, b); err != nil {
			t.Errorf("does not sign though the mesh has its root: %v", err)
		}
		if bundle := bundleAt(t, b); m.revision.Load() != bundle.GetRevision().GetSeq() {
			t.Errorf("asked about revision %d, the bundle with the root is %d", m.revision.Load(), bundle.GetRevision().GetSeq())
		}
		stop()
		again := newParts(t, store, dirs[1], "b", withConvergence(never(t)))
		run(t, again.service.Run)
		synctest.Wait()
		if err := signs(t, again); err != nil {
			t.Errorf("after a restart a distributed root does not sign at once: %v", err)
		}
	})
}

func TestNobodyToAsk(t *testing.T) {
	dirs := [2]string{t.TempDir(), t.TempDir()}
	for name, opts := range map[string][]option{
		"no distributor":           {withGrace(15 * time.Second)},
		"distributor that is away": {withGrace(15 * time.Second), withConvergence(awayMesh())},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memkv.New()
				a := newParts(t, store, dirs[0], "a")
				run(t, a.service.Run)
				synctest.Wait()
				b := newParts(t, store, dirs[1], "b", opts...)
				run(t, b.service.Run)
				time.Sleep(14 * time.Second)
				if signs(t, b) == nil {
					t.Error("signs before the grace is over")
				}
				time.Sleep(2 * time.Second)
				if err := signs(t, b); err != nil {
					t.Errorf("does not sign after the grace: %v", err)
				}
			})
		})
	}
}

// Of two replicas that begin on an empty store at once, exactly one is the first.
func TestOneFirstRoot(t *testing.T) {
	dirs := [2]string{t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		store := memkv.New()
		first := 0
		var both []*parts
		for i, dir := range dirs {
			both = append(both, newParts(t, store, dir, fmt.Sprint(i), withConvergence(&mesh{})))
		}
		for _, p := range both {
			run(t, p.service.Run)
		}
		synctest.Wait()
		for _, p := range both {
			if signs(t, p) == nil {
				first++
			}
		}
		if first != 1 {
			t.Errorf("%d replicas sign at once, want 1", first)
		}
	})
}

// A store that fails for a while, or loses the root, costs time and nothing else.
func TestStoreTrouble(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := memkv.New()
		p := newParts(t, store, dir, "a")
		for range 20 {
			store.FailNext(errors.New("store is away"))
		}
		run(t, p.service.Run)
		time.Sleep(time.Minute)
		if err := errors.Join(p.service.Ready(), signs(t, p)); err != nil {
			t.Fatalf("did not recover: %v", err)
		}
		before := bundleAt(t, p)
		entries, _, err := store.List(t.Context(), "roots/")
		if err != nil || len(entries) != 1 {
			t.Fatalf("roots in the store: %v, %v", entries, err)
		}
		if _, err := store.Delete(t.Context(), entries[0].Key, kv.Always()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		after := bundleAt(t, p)
		if diff := cmp.Diff(before.GetX509Authorities(), after.GetX509Authorities()); diff != "" {
			t.Errorf("the lost root did not come back (-want +got):\n%s", diff)
		}
		if after.GetRevision().GetSeq() <= before.GetRevision().GetSeq() {
			t.Error("the revision did not grow")
		}
	})
}

// TestE2_ExpiredRootLeavesTheBundle: retiring a root is a change, and the revision never falls, not even for a new replica.
func TestE2_ExpiredRootLeavesTheBundle(t *testing.T) {
	dirs := [3]string{t.TempDir(), t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		store := memkv.New()
		short, err := builtin.Open(builtin.Config{Dir: filepath.Join(dirs[0], "ca"), TrustDomain: td(), LeafTTL: ttl, Lifetime: 3 * ttl})
		if err != nil {
			t.Fatal(err)
		}
		a := newParts(t, store, dirs[0], "a") // takes up the short root
		stop := run(t, a.service.Run)
		b := newParts(t, store, dirs[1], "b", withConvergence(always{}))
		run(t, b.service.Run)
		synctest.Wait()
		before := bundleAt(t, b)
		stop()
		time.Sleep(time.Until(short.NotAfter()) + 2*time.Minute)
		after := bundleAt(t, b)
		if n, m := len(before.GetX509Authorities()), len(after.GetX509Authorities()); n != 2 || m != 1 {
			t.Errorf("bundle had %d and has %d authorities, want 2 and 1", n, m)
		}
		if after.GetRevision().GetSeq() <= before.GetRevision().GetSeq() {
			t.Error("retiring a root did not raise the revision")
		}
		again := newParts(t, store, dirs[1], "b", withConvergence(always{}))
		if diff := cmp.Diff(after, bundleAt(t, again), protocmp.Transform()); diff != "" {
			t.Errorf("a replica that starts now has another bundle (-want +got):\n%s", diff)
		}
	})
}

func bundleAt(t *testing.T, p *parts) *identitypb.Bundle {
	t.Helper()
	resp, err := p.service.GetBundle(t.Context(), &identitypb.GetBundleRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return resp.GetBundle()
}

func TestWatchBundlesNeedsAnIdentity(t *testing.T) {
	r := start(t, memkv.New(), "a")
	watch, err := r.anonymous(t, anybody).WatchBundles(t.Context(), &identitypb.WatchBundlesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = watch.Recv()
	refused(t, err, codes.Unauthenticated, "identity")
}

func awayMesh() *mesh {
	m := &mesh{}
	m.away.Store(true)
	return m
}

// never is a distributor that nobody may ask.
func never(t *testing.T) unasked { return unasked{t} }

type unasked struct{ t *testing.T }

func (u unasked) Applied(context.Context, model.Revision) (bool, string, error) {
	u.t.Error("the distributor was asked about a root that may sign at once")
	return false, "", nil
}
