package snapshot

import (
	"net/netip"
	"testing"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// An endpoint of UDP is another one than that of TCP at the same place: what is known of one says nothing of the other.
func TestEndpointsOfBothTransports(t *testing.T) {
	pb := &configpb.EndpointSet{Service: "default/dns"}
	for _, udp := range []bool{false, true} {
		pb.Endpoints = append(pb.Endpoints, &configpb.Endpoint{Workload: "dns-1", Address: []byte{10, 0, 0, 1}, Port: 53, TargetPort: 53, Udp: udp})
	}
	set, err := decodeEndpoints(pb)
	if err != nil {
		t.Fatal(err)
	}
	tcp, udp := set.all[0].endpoint, set.all[1].endpoint
	if tcp.UDP || !udp.UDP || tcp.Key == udp.Key || udp.Key != tcp.Key+"/udp" {
		t.Errorf("got %q and %q", tcp.Key, udp.Key)
	}
}

func TestIndexTellsTransportsApart(t *testing.T) {
	name := "default/dns"
	s, err := newShard(&configpb.IndexShard{Shard: ShardOf(name), Version: "1", Entries: []*configpb.IndexEntry{
		{Name: name, VirtualAddress: []byte{198, 18, 0, 1}, Ports: []uint32{53<<8 | 4, 53<<8 | 5}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	x := &Index{addresses: &byAddress{}}
	x.shards[ShardOf(name)] = s
	got, ok := x.ByAddress(netip.MustParseAddr("198.18.0.1"))
	if !ok || len(got.Ports) != 2 || got.Ports[0].Protocol != table.TCP || got.Ports[1] != (table.ServicePort{Number: 53, Protocol: table.UDP}) {
		t.Errorf("got %+v, %v", got, ok)
	}
}
