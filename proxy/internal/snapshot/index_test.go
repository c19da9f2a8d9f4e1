package snapshot

import (
	"net/netip"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
)

func TestIndexFindsEveryServiceAndNothingElse(t *testing.T) {
	const n = 1000
	x := applied(t, New(owner()), &configpb.Update{Index: shardsOf("1", n)}).Table(1).Index
	for i := range n {
		addr := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		byAddr, ok := x.ByAddress(addr)
		if !ok || byAddr.VirtualAddress != addr || byAddr.Meshed != (i%2 == 0) || byAddr.Ports[0].Number != 80 {
			t.Fatalf("address %v: got %+v, %v", addr, byAddr, ok)
		}
		byName, ok := x.Lookup(byAddr.Name)
		if !ok || !cmp.Equal(byName, byAddr, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) {
			t.Fatalf("name %q: got %+v, %v", byAddr.Name, byName, ok)
		}
	}
	if _, ok := x.Lookup("default/nothing"); ok {
		t.Error("found a service that does not exist")
	}
	if _, ok := x.ByAddress(netip.MustParseAddr("10.0.0.1")); ok {
		t.Error("found an address that nobody has")
	}
}

func TestIndexByAddressDoesNotAllocate(t *testing.T) {
	x := applied(t, New(owner()), &configpb.Update{Index: shardsOf("1", 1000)}).Table(1).Index
	addr := netip.AddrFrom4([4]byte{198, 18, 1, 7})
	x.ByAddress(addr) // the first one sorts
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := x.ByAddress(addr); !ok {
			t.Fatal("not found")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestIndexByAddressSeesReplacedShards(t *testing.T) {
	before := applied(t, New(owner()), &configpb.Update{Index: shardsOf("1", 10)})
	addr := netip.AddrFrom4([4]byte{198, 18, 0, 12})
	if _, ok := before.index.ByAddress(addr); ok {
		t.Fatal("found an address that nobody has yet")
	}
	after := applied(t, before, &configpb.Update{Index: shardsOf("2", 20)})
	if _, ok := after.index.ByAddress(addr); !ok {
		t.Error("the new shard's address is not found")
	}
	if _, ok := before.index.ByAddress(addr); ok {
		t.Error("the index before changed")
	}
}

func TestIndexEntryCostsAtMost64Bytes(t *testing.T) {
	const n = 5000
	total := 0
	for _, pb := range shardsOf("1", n) {
		s, err := newShard(pb)
		if err != nil {
			t.Fatal(err)
		}
		total += len(s.text) + cap(s.entries)*int(unsafe.Sizeof(entry{})) + 4*cap(s.ports) + int(unsafe.Sizeof(place{}))*len(s.entries)
	}
	if per := total / n; per > 64 {
		t.Errorf("an entry costs %d bytes", per)
	}
}

func TestIndexShardComesBackAsItWas(t *testing.T) {
	for _, pb := range shardsOf("7", 300) {
		s, err := newShard(pb)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(pb, s.proto(pb.GetShard()), protocmp.Transform()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestIndexShardRefusals(t *testing.T) {
	number := ShardOf("default/a")
	one := func(e ...*configpb.IndexEntry) *configpb.IndexShard {
		return &configpb.IndexShard{Shard: number, Version: "1", Entries: e}
	}
	tests := map[string]struct {
		shard *configpb.IndexShard
		want  string
	}{
		"number":      {&configpb.IndexShard{Shard: 64}, "only 64"},
		"other shard": {&configpb.IndexShard{Shard: (number + 1) % Shards, Entries: []*configpb.IndexEntry{{Name: "default/a"}}}, "belongs to"},
		"twice":       {one(&configpb.IndexEntry{Name: "default/a"}, &configpb.IndexEntry{Name: "default/a"}), "not in order"},
		"address":     {one(&configpb.IndexEntry{Name: "default/a", VirtualAddress: []byte{1}}), "1 bytes"},
		"protocol":    {one(&configpb.IndexEntry{Name: "default/a", Ports: []uint32{53<<8 | 6}}), "protocol 6"},
		"port":        {one(&configpb.IndexEntry{Name: "default/a", Ports: []uint32{1}}), "port 0"},
		"name":        {one(&configpb.IndexEntry{Name: strings.Repeat("a", 200)}), "namespace/name"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before := applied(t, New(owner()), &configpb.Update{Index: shardsOf("1", 10)})
			after, nacks := before.Apply(&configpb.Update{Index: []*configpb.IndexShard{tt.shard}})
			if len(nacks) != 1 || !strings.Contains(nacks[0].GetError(), tt.want) {
				t.Errorf("want a refusal with %q, got %v", tt.want, nacks)
			}
			if after.IndexLen() != before.IndexLen() {
				t.Error("a refused shard changed the index")
			}
		})
	}
}
