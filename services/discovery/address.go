package discovery

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/model"
)

// pool is where virtual addresses come from: a range that is reserved for tests of devices and routed nowhere.
func pool() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, 0}), 15) }

// addresses gives each service an address of its own. Where to begin looking comes from the service's name, so that a service
// that is deleted and made again most often gets the address that it had. An address is taken by a key in the store, whose
// guarded write decides between replicas.
type addresses struct {
	store kv.Store
	pool  netip.Prefix
	size  uint32
}

func newAddresses(store kv.Store, pool netip.Prefix) *addresses {
	return &addresses{store: store, pool: pool, size: 1<<(32-pool.Bits()) - 2} // without the first and the last
}

func addressKey(a netip.Addr) string { return "addresses/" + a.String() }

// claim returns the service's address.
func (a *addresses) claim(ctx context.Context, service model.Key) (netip.Addr, error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(service.String())) // a hash cannot fail
	start := h.Sum32()
	for i := range a.size {
		address := a.at((start + i) % a.size)
		ok, err := a.take(ctx, address, service)
		if err != nil {
			return netip.Addr{}, fault.Wrap(fault.Unavailable, err, "find a virtual address for service %q", service)
		}
		if ok {
			return address, nil
		}
	}
	return netip.Addr{}, fault.New(fault.Unavailable, "all %d virtual addresses of %s are taken; none is left for service %q", a.size, a.pool, service)
}

func (a *addresses) at(n uint32) netip.Addr {
	base := a.pool.Addr().As4()
	var out [4]byte
	binary.BigEndian.PutUint32(out[:], binary.BigEndian.Uint32(base[:])+1+n)
	return netip.AddrFrom4(out)
}

// take tries one address. Taking one's own again writes it anew, which makes a release that is under way fail.
func (a *addresses) take(ctx context.Context, address netip.Addr, service model.Key) (bool, error) {
	for {
		entry, err := a.store.Get(ctx, addressKey(address))
		condition := kv.IfRevision(entry.Revision)
		switch {
		case errors.Is(err, kv.ErrNotFound):
			condition = kv.IfAbsent()
		case err != nil:
			return false, err
		case string(entry.Value) != service.String():
			return false, nil
		}
		_, err = a.store.Put(ctx, addressKey(address), []byte(service.String()), condition)
		if !errors.Is(err, kv.ErrConflict) {
			return err == nil, err
		}
	}
}

// lease notes who has an address now and returns how to give it back later, unless it was claimed in between.
func (a *addresses) lease(ctx context.Context, service model.Key, address netip.Addr) (give func(context.Context) error, err error) {
	nothing := func(context.Context) error { return nil }
	entry, err := a.store.Get(ctx, addressKey(address))
	if errors.Is(err, kv.ErrNotFound) || err == nil && string(entry.Value) != service.String() {
		return nothing, nil
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "read the virtual address of service %q", service)
	}
	return func(ctx context.Context) error {
		_, err := a.store.Delete(ctx, entry.Key, kv.IfRevision(entry.Revision))
		if err == nil || errors.Is(err, kv.ErrConflict) || errors.Is(err, kv.ErrNotFound) {
			return nil
		}
		return fmt.Errorf("release virtual address %s: %w", address, err)
	}, nil
}
