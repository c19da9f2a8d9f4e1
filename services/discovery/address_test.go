package discovery

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"pgregory.net/rapid"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv/memkv"
	"github.com/weft-mesh/weft/services/internal/model"
)

func TestServicesGetStableAddresses(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := r.start("a")
		first := d.service("reviews", "reviews")
		address, err := netip.ParseAddr(first.GetVirtualAddress())
		if err != nil || !pool().Contains(address) {
			t.Fatalf("want an address of %s, got %q", pool(), first.GetVirtualAddress())
		}
		first.Spec.Accounts = nil
		first.VirtualAddress = "10.0.0.1" // output only: what a client says is ignored
		updated, err := d.UpdateService(t.Context(), &discoverypb.UpdateServiceRequest{Service: first})
		if err != nil || updated.GetService().GetVirtualAddress() != address.String() || len(updated.GetWarnings()) != 1 {
			t.Errorf("want %s and a warning about accounts, got %v, %v", address, updated, err)
		}
		if _, err := d.DeleteService(t.Context(), &discoverypb.DeleteServiceRequest{Name: "reviews"}); err != nil {
			t.Fatal(err)
		}
		entries, _, err := r.store.List(t.Context(), "addresses/")
		if err != nil || len(entries) != 0 {
			t.Errorf("want the address released, got %v, %v", entries, err)
		}
		if got := d.service("reviews").GetVirtualAddress(); got != address.String() {
			t.Errorf("made again: want %s, got %s", address, got)
		}
	})
}

func TestDryRunTakesNoAddress(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := r.start("a")
		req := &discoverypb.CreateServiceRequest{ValidateOnly: true, Service: &discoverypb.Service{Metadata: workload("x").GetMetadata()}}
		if _, err := d.CreateService(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		if entries, _, err := r.store.List(t.Context(), ""); err != nil || len(entries) != 0 {
			t.Errorf("want an empty store, got %v, %v", entries, err)
		}
	})
}

func TestAddressesRunOut(t *testing.T) {
	a := newAddresses(memkv.New(), netip.MustParsePrefix("198.18.0.0/30"))
	for i := range 2 {
		if _, err := a.claim(t.Context(), model.Key{Namespace: "default", Name: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := a.claim(t.Context(), model.Key{Namespace: "default", Name: "2"})
	wantFault(t, err, fault.Unavailable, "taken")
}

// Whoever claims and releases at the same time, no two services ever hold one address, and none has two.
func TestAddressesAreUnique(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		names := rapid.SliceOfN(rapid.IntRange(0, 5), 1, 20).Draw(rt, "names")
		a := newAddresses(memkv.New(), netip.MustParsePrefix("198.18.0.0/28"))
		var mu sync.Mutex
		owners := map[netip.Addr]string{}
		var wg sync.WaitGroup
		for _, n := range names {
			wg.Go(func() {
				key := model.Key{Namespace: "default", Name: fmt.Sprint(n)}
				address, err := a.claim(t.Context(), key)
				mu.Lock()
				defer mu.Unlock()
				if owner, taken := owners[address]; err != nil || taken && owner != key.Name {
					t.Errorf("%s got %s of %s: %v", key.Name, address, owner, err)
				}
				owners[address] = key.Name
			})
		}
		wg.Wait()
		seen := map[string]bool{}
		for _, owner := range owners {
			if seen[owner] {
				rt.Fatalf("%s has two addresses: %v", owner, owners)
			}
			seen[owner] = true
		}
	})
}

// A release that was begun before a new claim does not take the address away from the new service.
func TestReleaseYieldsToANewClaim(t *testing.T) {
	ctx, a := t.Context(), newAddresses(memkv.New(), pool())
	key := model.Key{Namespace: "default", Name: "reviews"}
	address, err := a.claim(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	give, err := a.lease(ctx, key, address)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := a.claim(ctx, key); err != nil || again != address {
		t.Fatalf("want %s again, got %s, %v", address, again, err)
	}
	if err := give(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := a.store.Get(ctx, addressKey(address)); err != nil {
		t.Errorf("the new service must keep its address: %v", err)
	}
}
