package modelpb

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
)

var equal = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// maybe makes an absent list, or one of at least one element.
func maybe[T any](t *rapid.T, name string, draw func(*rapid.T) T) []T {
	n := rapid.IntRange(0, 3).Draw(t, name)
	var out []T
	for range n {
		out = append(out, draw(t))
	}
	return out
}

func text(t *rapid.T) string { return rapid.StringN(1, 8, -1).Draw(t, "text") }

func free(t *rapid.T) map[string]string {
	m := rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "labels")
	if len(m) == 0 {
		return nil
	}
	return m
}

func moment(t *rapid.T) time.Time {
	if rapid.Bool().Draw(t, "no time") {
		return time.Time{}
	}
	return time.Unix(rapid.Int64Range(1, 1<<33).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
}

func meta(t *rapid.T) model.Meta {
	return model.Meta{
		Key: model.Key{Namespace: text(t), Name: text(t)}, Labels: free(t), Etag: text(t), Origin: text(t),
		CreateTime: moment(t), UpdateTime: moment(t),
	}
}

func duration(t *rapid.T) time.Duration {
	return time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "duration"))
}

func number(t *rapid.T) uint32 { return rapid.Uint32().Draw(t, "number") }

func port(t *rapid.T) uint16 { return rapid.Uint16().Draw(t, "port") }

func protocol(t *rapid.T) model.Protocol {
	return model.Protocol(rapid.Uint8Range(0, uint8(model.ProtocolUDP)).Draw(t, "protocol"))
}

func stringMatch(t *rapid.T, highest model.MatchKind) model.StringMatch {
	m := model.StringMatch{Kind: model.MatchKind(rapid.Uint8Range(1, uint8(highest)).Draw(t, "kind"))}
	if m.Kind <= model.MatchRegex {
		m.Value = rapid.String().Draw(t, "value")
	}
	return m
}

func httpMatch(t *rapid.T) model.HTTPMatch {
	m := model.HTTPMatch{Methods: maybe(t, "methods", text)}
	if rapid.Bool().Draw(t, "path") {
		p := stringMatch(t, model.MatchRegex)
		m.Path = &p
	}
	m.Headers = maybe(t, "headers", func(t *rapid.T) model.HeaderMatch {
		return model.HeaderMatch{Name: text(t), StringMatch: stringMatch(t, model.MatchAbsent)}
	})
	return m
}

func address(t *rapid.T) netip.Addr {
	if rapid.Bool().Draw(t, "v4") {
		return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "ip")))
	}
	return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "ip"))).Unmap()
}

func route(t *rapid.T) model.Route {
	return model.Route{Meta: meta(t), Service: text(t), Rules: maybe(t, "rules", func(t *rapid.T) model.RouteRule {
		r := model.RouteRule{Match: maybe(t, "match", httpMatch), Timeout: duration(t)}
		r.Backends = maybe(t, "backends", func(t *rapid.T) model.Backend {
			return model.Backend{Service: text(t), Labels: free(t), Weight: rapid.Uint32().Draw(t, "weight")}
		})
		if rapid.Bool().Draw(t, "retry") {
			r.Retry = &model.RetryPolicy{Attempts: rapid.Uint32().Draw(t, "attempts"), PerTry: duration(t), Statuses: maybe(t, "statuses", number)}
		}
		return r
	})}
}

func access(t *rapid.T) model.AccessPolicy {
	return model.AccessPolicy{Meta: meta(t), Account: text(t), Allow: maybe(t, "allow", func(t *rapid.T) model.AccessRule {
		return model.AccessRule{To: maybe(t, "to", httpMatch), From: maybe(t, "from", func(t *rapid.T) model.AccessSource {
			return model.AccessSource{Account: text(t), Namespace: text(t)}
		})}
	})}
}

func meshConfig(t *rapid.T) model.MeshConfig {
	c := model.MeshConfig{
		Meta: meta(t), MTLS: model.MTLSMode(rapid.Uint8Range(0, 3).Draw(t, "mtls")),
		Access:    model.AccessDefault(rapid.Uint8Range(0, 2).Draw(t, "access")),
		Balancing: model.Balancing(rapid.Uint8Range(0, 3).Draw(t, "balancing")),
		Egress:    model.EgressMode(rapid.Uint8Range(0, 2).Draw(t, "egress")),
	}
	if rapid.Bool().Draw(t, "budget") {
		c.RetryBudget = &model.RetryBudget{Percent: number(t), MinPerSecond: number(t)}
	}
	return c
}

func externalService(t *rapid.T) model.ExternalService {
	return model.ExternalService{Meta: meta(t), Hosts: maybe(t, "hosts", text), Addresses: maybe(t, "addresses", text), Ports: maybe(t, "ports", port)}
}

func roleBinding(t *rapid.T) model.RoleBinding {
	return model.RoleBinding{
		Meta:    meta(t),
		Subject: model.Subject{Kind: model.SubjectKind(rapid.Uint8Range(1, 3).Draw(t, "kind")), Value: text(t)},
		Grant:   model.Grant{Role: model.Role(rapid.Uint8Range(0, 3).Draw(t, "role")), Namespaces: maybe(t, "namespaces", text)},
	}
}

func service(t *rapid.T) model.Service {
	return model.Service{
		Meta: meta(t), Accounts: maybe(t, "accounts", text), VirtualAddress: address(t),
		Ports: maybe(t, "ports", func(t *rapid.T) model.ServicePort {
			return model.ServicePort{Name: text(t), Port: port(t), TargetPort: port(t), Protocol: protocol(t)}
		}),
	}
}

func workload(t *rapid.T) model.Workload {
	return model.Workload{
		Meta: meta(t), Account: text(t), Services: maybe(t, "services", text), Selectable: free(t), Address: address(t),
		MeshPort: port(t), Locality: text(t), State: model.WorkloadState(rapid.Uint8Range(0, 3).Draw(t, "state")),
		LeaseHolder: text(t), AdminAddress: text(t),
		Ports: maybe(t, "ports", func(t *rapid.T) model.WorkloadPort {
			return model.WorkloadPort{ServicePort: port(t), Port: port(t), Protocol: protocol(t)}
		}),
	}
}

// throughWire sends a value over the wire and back.
func throughWire[T any, P proto.Message](draw func(*rapid.T) T, to func(T) P, empty func() P, from func(P) (T, error)) func(*testing.T) {
	return rapid.MakeCheck(func(t *rapid.T) {
		want := draw(t)
		raw, err := proto.Marshal(to(want))
		if err != nil {
			t.Fatalf("marshal %+v: %v", want, err)
		}
		p := empty()
		if err := proto.Unmarshal(raw, p); err != nil {
			t.Fatal(err)
		}
		got, err := from(p)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, equal); diff != "" {
			t.Fatalf("after the wire (-want +got):\n%s", diff)
		}
	})
}

func TestRoundTrip(t *testing.T) {
	t.Run("service", throughWire(service, ServiceToProto, func() *discoverypb.Service { return &discoverypb.Service{} }, ServiceFromProto))
	t.Run("workload", throughWire(workload, WorkloadToProto, func() *discoverypb.Workload { return &discoverypb.Workload{} }, WorkloadFromProto))
	t.Run("route", throughWire(route, RouteToProto, func() *policypb.Route { return &policypb.Route{} }, RouteFromProto))
	t.Run("access", throughWire(access, AccessPolicyToProto, func() *policypb.AccessPolicy { return &policypb.AccessPolicy{} }, AccessPolicyFromProto))
	t.Run("config", throughWire(meshConfig, MeshConfigToProto, func() *policypb.MeshConfig { return &policypb.MeshConfig{} }, MeshConfigFromProto))
	t.Run("external", throughWire(externalService, ExternalServiceToProto, func() *policypb.ExternalService { return &policypb.ExternalService{} }, ExternalServiceFromProto))
	t.Run("role", throughWire(roleBinding, RoleBindingToProto, func() *identitypb.RoleBinding { return &identitypb.RoleBinding{} }, RoleBindingFromProto))
}

func TestVectorRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want model.Vector
		for source := model.SourcePolicy; source <= model.SourceIdentity; source++ {
			if rapid.Bool().Draw(t, "seen") {
				want = want.With(model.Revision{Source: source, Epoch: text(t), Seq: rapid.Uint64().Draw(t, "seq")})
			}
		}
		got, err := VectorFromProto(VectorToProto(want))
		if err != nil || got != want {
			t.Fatalf("want %v, got %v, %v", want, got, err)
		}
	})
}
