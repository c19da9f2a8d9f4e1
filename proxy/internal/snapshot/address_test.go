package snapshot

import (
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

func addressResource(version string, body *configpb.Address) *configpb.Resource {
	return &configpb.Resource{Name: "address/" + body.GetAddress(), Version: version, Body: &configpb.Resource_Address{Address: body}}
}

func egressResource(version string, body *configpb.Egress) *configpb.Resource {
	return &configpb.Resource{Name: "egress", Version: version, Body: &configpb.Resource_Egress{Egress: body}}
}

// at is one port of a workload at 127.0.0.1, which stands for any address here.
func at(target uint32) *configpb.AddressPort {
	ep := endpoint("reviews-1", 15008, nil)
	ep.TargetPort = target
	return &configpb.AddressPort{Service: "default/reviews", Protocol: typepb.Protocol_PROTOCOL_HTTP, Endpoint: ep}
}

func TestAddressBecomesServicesOfOneEndpoint(t *testing.T) {
	here := netip.MustParseAddr("127.0.0.1")
	s := applied(t, New(owner()), &configpb.Update{Resources: []*configpb.Resource{
		addressResource("1", &configpb.Address{Address: "127.0.0.1", Ports: []*configpb.AddressPort{at(8080), at(9090)}}),
		addressResource("1", &configpb.Address{Address: "192.0.2.1"}),
	}})
	tab := s.Table(1)
	svc := tab.Addresses[here].Port(9090)
	if svc == nil || svc.Name != "default/reviews" || svc.Ports[0] != (table.ServicePort{Number: 80, Protocol: table.HTTP}) {
		t.Fatalf("service %+v", svc)
	}
	set := svc.Rules[0].Backends[0].Set
	if len(set.Endpoints) != 1 || set.Endpoints[0].MeshPort != 15008 || set.Endpoints[0].TargetPort != 9090 {
		t.Errorf("endpoints %+v", set.Endpoints)
	}
	if tab.Addresses[here].Port(80) != nil {
		t.Error("a port that nobody listens on has a service")
	}
	outside, known := tab.Addresses[netip.MustParseAddr("192.0.2.1")]
	if !known || len(outside.Ports) > 0 || !s.HasAddress(outside.Address) {
		t.Errorf("an address outside of the mesh: %+v, %v", outside, known)
	}
	n := 0
	for range tab.Sets() {
		n++
	}
	if n != 2 {
		t.Errorf("the table leads to %d sets", n)
	}
}

func TestAddressRefusals(t *testing.T) {
	odd := at(8080)
	odd.Endpoint.Address = []byte{10, 0, 0, 1}
	tests := map[string]struct {
		body *configpb.Address
		want string
	}{
		"no address":       {&configpb.Address{Address: "web"}, "not an IP address"},
		"another spelling": {&configpb.Address{Address: "::ffff:127.0.0.1"}, "not an IP address"},
		"another place":    {&configpb.Address{Address: "127.0.0.1", Ports: []*configpb.AddressPort{odd}}, "is at 10.0.0.1"},
		"port twice":       {&configpb.Address{Address: "127.0.0.1", Ports: []*configpb.AddressPort{at(80), at(80)}}, "not in order"},
		"no endpoint":      {&configpb.Address{Address: "127.0.0.1", Ports: []*configpb.AddressPort{{Service: "a/b"}}}, "endpoint: none"},
		"no service":       {&configpb.Address{Address: "127.0.0.1", Ports: []*configpb.AddressPort{{}}}, "service:"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, nacks := New(owner()).Apply(&configpb.Update{Resources: []*configpb.Resource{addressResource("1", tt.body)}})
			if len(nacks) != 1 || !strings.Contains(nacks[0].GetError(), tt.want) {
				t.Errorf("want a refusal with %q, got %v", tt.want, nacks)
			}
		})
	}
}

func TestEgressThatIsNotUnderstoodOpensNothing(t *testing.T) {
	if e := New(owner()).Table(1).Egress; e != nil {
		t.Errorf("never configured: %+v", e)
	}
	newer := &configpb.Egress{}
	newer.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	refused, nacks := New(owner()).Apply(&configpb.Update{Resources: []*configpb.Resource{egressResource("1", newer)}})
	if len(nacks) != 1 || !refused.Table(1).Egress.Strict {
		t.Errorf("refused %v, then %+v", nacks, refused.Table(1).Egress)
	}
	good := applied(t, refused, &configpb.Update{Resources: []*configpb.Resource{egressResource("2", &configpb.Egress{
		Services: []*configpb.ExternalService{{Name: "default/pay", Hosts: []string{"*.pay.example"}, Addresses: []string{"192.0.2.0/24"}, Ports: []uint32{443}}},
	})}})
	e := good.Table(1).Egress
	if e.Strict || len(e.Services) != 1 || e.Services[0].Addresses[0] != netip.MustParsePrefix("192.0.2.0/24") || e.Services[0].Ports[0] != 443 {
		t.Errorf("egress %+v", e)
	}
	again, _ := good.Apply(&configpb.Update{Resources: []*configpb.Resource{egressResource("3", newer)}})
	if got := again.Table(1).Egress; got.Strict || len(got.Services) != 1 {
		t.Errorf("the last good one did not stay: %+v", got)
	}
	for want, s := range map[string]*configpb.ExternalService{
		"name":         {Name: "pay"},
		"addresses[0]": {Name: "a/b", Addresses: []string{"192.0.2.1"}},
		"ports[0]":     {Name: "a/b", Ports: []uint32{0}},
	} {
		_, nacks := New(owner()).Apply(&configpb.Update{Resources: []*configpb.Resource{egressResource("1", &configpb.Egress{Services: []*configpb.ExternalService{s}})}})
		if len(nacks) != 1 || !strings.Contains(nacks[0].GetError(), want) {
			t.Errorf("want a refusal with %q, got %v", want, nacks)
		}
	}
}
