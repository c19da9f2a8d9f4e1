package snapshot

import (
	"fmt"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/testca"
)

func owner() Owner {
	return Owner{TrustDomain: spiffeid.RequireTrustDomainFromString("weft.local"), Namespace: "default", Workload: "web-1"}
}

func meshResource(version string) *configpb.Resource {
	return &configpb.Resource{Name: "mesh", Version: version, Body: &configpb.Resource_Mesh{Mesh: &configpb.Mesh{
		TrustDomain: "weft.local", Mtls: typepb.MtlsMode_MTLS_MODE_PERMISSIVE, Balancing: typepb.Balancing_BALANCING_LEAST_REQUEST,
		RetryPercent: 30, RetryMinPerSecond: 5,
	}}}
}

func accessResource(version string, access *configpb.Access) *configpb.Resource {
	return &configpb.Resource{Name: "access", Version: version, Body: &configpb.Resource_Access{Access: access}}
}

func serviceResource(version string, service *configpb.Service) *configpb.Resource {
	return &configpb.Resource{Name: "service/" + service.GetName(), Version: version, Body: &configpb.Resource_Service{Service: service}}
}

func endpointsResource(version, service string, endpoints ...*configpb.Endpoint) *configpb.Resource {
	return &configpb.Resource{Name: "endpoints/" + service, Version: version, Body: &configpb.Resource_Endpoints{Endpoints: &configpb.EndpointSet{
		Service: service, Ids: []string{"spiffe://weft.local/ns/default/sa/reviews"}, Endpoints: endpoints,
	}}}
}

func inboundResource(version string) *configpb.Resource {
	return &configpb.Resource{Name: "inbound", Version: version, Body: &configpb.Resource_Inbound{Inbound: &configpb.Inbound{
		Namespace: "default", Account: "web", Workload: "web-1", Labels: map[string]string{"version": "v1"},
		Ports: []*configpb.InboundPort{{Service: "default/web", Port: 80, TargetPort: 8080, Protocol: typepb.Protocol_PROTOCOL_HTTP}},
	}}}
}

func bundleResource(t *testing.T, version string) *configpb.Resource {
	ca := testca.New(t, "weft.local")
	return &configpb.Resource{
		Name: "bundle", Version: version,
		MadeFrom: vector(rev(typepb.Source_SOURCE_IDENTITY, "e", 3)),
		Body:     &configpb.Resource_Bundle{Bundle: &configpb.TrustBundle{TrustDomain: "weft.local", X509Authorities: [][]byte{ca.Root().Raw}}},
	}
}

func endpoint(workload string, port uint32, labels map[string]string) *configpb.Endpoint {
	return &configpb.Endpoint{
		Workload: workload, Address: []byte{127, 0, 0, 1}, MeshPort: port, Port: 80, TargetPort: 8080, Labels: labels,
		Id: "spiffe://weft.local/ns/default/sa/reviews",
	}
}

func rev(source typepb.Source, epoch string, seq uint64) *typepb.SourceRevision {
	return &typepb.SourceRevision{Source: source, Epoch: epoch, Seq: seq}
}

func vector(revisions ...*typepb.SourceRevision) *typepb.RevisionVector {
	return &typepb.RevisionVector{Revisions: revisions}
}

// shardsOf sorts names into valid shards; each service has an address and port 80.
func shardsOf(version string, n int) []*configpb.IndexShard {
	byShard := map[uint32]*configpb.IndexShard{}
	for i := range n {
		name := fmt.Sprintf("default/service-%05d", i) // ascending, so that every shard is
		number := ShardOf(name)
		sh := byShard[number]
		if sh == nil {
			sh = &configpb.IndexShard{Shard: number, Version: version}
			byShard[number] = sh
		}
		sh.Entries = append(sh.Entries, &configpb.IndexEntry{
			Name: name, VirtualAddress: []byte{198, 18, byte(i >> 8), byte(i)}, Ports: []uint32{80<<8 | 1}, Meshed: i%2 == 0,
		})
	}
	var out []*configpb.IndexShard
	for number := range uint32(Shards) {
		if sh := byShard[number]; sh != nil {
			out = append(out, sh)
		}
	}
	return out
}

// full is an update with one of each.
func full(t *testing.T) *configpb.Update {
	v1, v2 := map[string]string{"version": "v1"}, map[string]string{"version": "v2"}
	return &configpb.Update{
		Resources: []*configpb.Resource{
			meshResource("m1"), inboundResource("i1"), bundleResource(t, "b1"),
			accessResource("a1", &configpb.Access{Rules: []*configpb.AccessRule{{
				Name: "default/callers[0]", Ids: []string{"spiffe://weft.local/ns/default/sa/shop"}, IdPrefixes: []string{"spiffe://weft.local/ns/ops/"},
				Matches: []*configpb.Match{{
					Path: &typepb.PathMatch{Kind: &typepb.PathMatch_Prefix{Prefix: "/a"}}, Methods: []string{"GET"},
					Headers: []*typepb.HeaderMatch{{Name: "X-Beta", Kind: &typepb.HeaderMatch_Exact{Exact: "1"}}},
				}},
			}}}),
			serviceResource("s1", &configpb.Service{
				Name: "default/reviews", Ports: []*configpb.ServicePort{{Port: 80, Protocol: typepb.Protocol_PROTOCOL_HTTP}}, Route: "default/canary",
				Rules: []*configpb.RouteRule{{Backends: []*configpb.Backend{
					{Service: "default/reviews", Labels: v1, Weight: 90}, {Service: "default/reviews", Labels: v2, Weight: 10},
					{Service: "default/reviews", Weight: 0}, {Service: "default/gone", Weight: 1, Missing: true},
				}}},
			}),
			endpointsResource("e1", "default/reviews", endpoint("reviews-1", 15008, v1), endpoint("reviews-2", 15009, v2)),
		},
		Index:  shardsOf("x1", 200),
		Vector: vector(rev(typepb.Source_SOURCE_POLICY, "p", 7), rev(typepb.Source_SOURCE_DISCOVERY, "d", 9)),
	}
}

func applied(t *testing.T, s *State, u *configpb.Update) *State {
	t.Helper()
	next, nacks := s.Apply(u)
	if len(nacks) > 0 {
		t.Fatalf("refused %q: %s", nacks[0].GetResource(), nacks[0].GetError())
	}
	return next
}
