package snapshot

import (
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/weft-mesh/weft/proxy/internal/table"
)

// byAddress is the order of an index by virtual address. It is made when somebody first looks for one: only captured
// connections do.
type byAddress struct {
	once   sync.Once
	sorted []place
}

// place is where an entry is.
type place struct {
	shard uint32
	entry uint32
}

// ByAddress finds a service by its virtual address.
func (x *Index) ByAddress(addr netip.Addr) (table.IndexEntry, bool) {
	x.addresses.once.Do(x.sortAddresses)
	var raw [16]byte
	n := 4
	if addr = addr.Unmap(); addr.Is4() {
		four := addr.As4()
		copy(raw[:], four[:])
	} else {
		raw, n = addr.As16(), 16
	}
	low, high := 0, len(x.addresses.sorted)
	for low < high {
		middle := (low + high) / 2
		p := x.addresses.sorted[middle]
		switch at := x.shards[p.shard].addr(p.entry); {
		case at == string(raw[:n]):
			return x.shards[p.shard].entry(p.entry), true
		case at < string(raw[:n]):
			low = middle + 1
		default:
			high = middle
		}
	}
	return table.IndexEntry{}, false
}

func (x *Index) sortAddresses() {
	list := make([]place, 0, x.Len())
	for number, s := range x.shards {
		if s == nil {
			continue
		}
		for i := range s.entries {
			if s.entries[i].addrLen > 0 {
				list = append(list, place{uint32(number), uint32(i)})
			}
		}
	}
	slices.SortFunc(list, func(a, b place) int {
		return strings.Compare(x.shards[a.shard].addr(a.entry), x.shards[b.shard].addr(b.entry))
	})
	x.addresses.sorted = list
}
