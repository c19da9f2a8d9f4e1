package fanout

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// Numbers of the fields of Update that hold what is encoded here.
const (
	fieldResources protowire.Number = 2
	fieldIndex     protowire.Number = 4
)

// encoder keeps the bytes of each resource and shard as a field of an Update, so that a change for a thousand sidecars is
// encoded once. Safe for concurrent use.
type encoder struct {
	mu    sync.Mutex
	bytes map[any][]byte // by *compile.Resource and *compile.Shard
}

// resource is a resource as a field of an Update.
func (e *encoder) resource(r *compile.Resource) ([]byte, error) {
	return e.cached(r, fieldResources, func() proto.Message { return resourceToProto(r) })
}

// shard is a shard of the index as a field of an Update.
func (e *encoder) shard(s *compile.Shard) ([]byte, error) {
	return e.cached(s, fieldIndex, func() proto.Message { return shardToProto(s) })
}

func (e *encoder) cached(key any, field protowire.Number, message func() proto.Message) ([]byte, error) {
	e.mu.Lock()
	raw, ok := e.bytes[key]
	e.mu.Unlock()
	if ok {
		return raw, nil
	}
	body, err := proto.Marshal(message())
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", key, err)
	}
	raw = protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), body)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.bytes == nil {
		e.bytes = map[any][]byte{}
	}
	e.bytes[key] = raw
	return raw, nil
}

// trim forgets everything when more is kept than a state and the one before it need; what is used is encoded again.
func (e *encoder) trim(resources int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.bytes) > 2*(resources+compile.Shards)+1000 {
		e.bytes = nil
	}
}

func resourceToProto(r *compile.Resource) *configpb.Resource {
	out := &configpb.Resource{Name: r.Name, Version: r.Version, MadeFrom: modelpb.VectorToProto(r.MadeFrom)}
	for _, o := range r.Origins {
		out.Origins = append(out.Origins, &typepb.ObjectRef{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, Etag: o.Etag})
	}
	switch b := r.Body.(type) {
	case *compile.Mesh:
		out.Body = &configpb.Resource_Mesh{Mesh: &configpb.Mesh{
			TrustDomain: b.TrustDomain, Mtls: typepb.MtlsMode(b.MTLS), Balancing: typepb.Balancing(b.Balancing),
			RetryPercent: b.RetryPercent, RetryMinPerSecond: b.RetryMinPerSecond,
		}}
	case *compile.Inbound:
		out.Body = &configpb.Resource_Inbound{Inbound: inboundToProto(b)}
	case *compile.Access:
		out.Body = &configpb.Resource_Access{Access: accessToProto(b)}
	case *compile.TrustBundle:
		out.Body = &configpb.Resource_Bundle{Bundle: &configpb.TrustBundle{TrustDomain: b.TrustDomain, X509Authorities: b.Authorities}}
	case *compile.Service:
		out.Body = &configpb.Resource_Service{Service: serviceToProto(b)}
	case *compile.Address:
		out.Body = &configpb.Resource_Address{Address: addressToProto(b)}
	case *compile.Egress:
		out.Body = &configpb.Resource_Egress{Egress: egressToProto(b)}
	case *compile.EndpointSet:
		out.Body = &configpb.Resource_Endpoints{Endpoints: endpointsToProto(b)}
	}
	return out
}

func inboundToProto(b *compile.Inbound) *configpb.Inbound {
	out := &configpb.Inbound{Namespace: b.Namespace, Account: b.Account, Workload: b.Workload, Labels: b.Labels}
	for _, p := range b.Ports {
		out.Ports = append(out.Ports, &configpb.InboundPort{
			Service: p.Service, Port: uint32(p.Port), TargetPort: uint32(p.TargetPort), Protocol: typepb.Protocol(p.Protocol),
		})
	}
	return out
}

func accessToProto(b *compile.Access) *configpb.Access {
	out := &configpb.Access{Open: b.Open}
	for _, r := range b.Rules {
		out.Rules = append(out.Rules, &configpb.AccessRule{
			Name: r.Name, Ids: r.IDs, IdPrefixes: r.IDPrefixes, Matches: matchesToProto(r.Matches),
		})
	}
	return out
}

func serviceToProto(b *compile.Service) *configpb.Service {
	out := &configpb.Service{Name: b.Name, Ports: nil, Route: b.Route}
	for _, p := range b.Ports {
		out.Ports = append(out.Ports, &configpb.ServicePort{Port: uint32(p.Port), Protocol: typepb.Protocol(p.Protocol)})
	}
	for _, r := range b.Rules {
		rule := &configpb.RouteRule{
			Matches: matchesToProto(r.Matches), Timeout: duration(r.Timeout),
			RetryAttempts: r.RetryAttempts, PerTryTimeout: duration(r.PerTry), RetryStatuses: r.RetryStatuses,
		}
		for _, d := range r.Backends {
			rule.Backends = append(rule.Backends, &configpb.Backend{
				Service: d.Service.String(), Labels: d.Labels, Weight: d.Weight, Missing: d.Missing,
			})
		}
		out.Rules = append(out.Rules, rule)
	}
	return out
}

func endpointsToProto(b *compile.EndpointSet) *configpb.EndpointSet {
	out := &configpb.EndpointSet{Service: b.Service, Ids: b.IDs}
	for i := range b.Endpoints {
		out.Endpoints = append(out.Endpoints, endpointToProto(&b.Endpoints[i]))
	}
	return out
}

func endpointToProto(e *compile.Endpoint) *configpb.Endpoint {
	return &configpb.Endpoint{
		Workload: e.Workload, Address: e.Address.AsSlice(), MeshPort: uint32(e.MeshPort), Port: uint32(e.Port),
		TargetPort: uint32(e.TargetPort), Labels: e.Labels, Id: e.ID, Unknown: e.Unknown, Draining: e.Draining, Udp: e.UDP,
	}
}

func addressToProto(b *compile.Address) *configpb.Address {
	out := &configpb.Address{Address: b.Address.String()}
	for i := range b.Ports {
		p := &b.Ports[i]
		out.Ports = append(out.Ports, &configpb.AddressPort{
			Service: p.Service, Protocol: typepb.Protocol(p.Protocol), Endpoint: endpointToProto(&p.Endpoint),
		})
	}
	return out
}

func egressToProto(b *compile.Egress) *configpb.Egress {
	out := &configpb.Egress{Strict: b.Strict}
	for _, s := range b.Services {
		to := &configpb.ExternalService{Name: s.Name, Hosts: s.Hosts, Addresses: s.Addresses}
		for _, p := range s.Ports {
			to.Ports = append(to.Ports, uint32(p))
		}
		out.Services = append(out.Services, to)
	}
	return out
}

func shardToProto(s *compile.Shard) *configpb.IndexShard {
	out := &configpb.IndexShard{Shard: s.Number, Version: s.Version}
	for _, e := range s.Entries {
		entry := &configpb.IndexEntry{Name: e.Name, VirtualAddress: e.VirtualAddress.AsSlice(), Meshed: e.Meshed}
		for _, p := range e.Ports {
			entry.Ports = append(entry.Ports, uint32(p.Port)<<8|uint32(p.Protocol))
		}
		out.Entries = append(out.Entries, entry)
	}
	return out
}

func matchesToProto(list []model.HTTPMatch) []*configpb.Match {
	var out []*configpb.Match
	for _, m := range list {
		to := &configpb.Match{Path: modelpb.PathToProto(m.Path), Methods: m.Methods}
		for _, h := range m.Headers {
			to.Headers = append(to.Headers, modelpb.HeaderToProto(h))
		}
		out = append(out, to)
	}
	return out
}

// duration is absent for 0: none.
func duration(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}
