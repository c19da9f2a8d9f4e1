package model

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestEndpoints(t *testing.T) {
	type target struct {
		Workload string
		Service  uint16
		Target   uint16
	}
	w := func(name string, change func(*Workload)) Workload {
		out := Workload{Meta: meta(name), Account: "reviews", Services: []string{"reviews"}, Address: netip.MustParseAddr("10.0.0.1"), Ports: []WorkloadPort{{Port: 9000}}}
		change(&out)
		return out
	}
	same := func(*Workload) {}
	named := Service{Meta: meta("reviews"), Accounts: []string{"reviews", "blue/x"}, Ports: []ServicePort{{Name: "a", Port: 80}, {Name: "b", Port: 81, TargetPort: 8081}}}
	bare := Service{Meta: meta("reviews"), Accounts: []string{"reviews"}}
	for _, tc := range []struct {
		name      string
		service   Service
		workloads []Workload
		want      []target
	}{
		{"several instances in order", named, []Workload{w("b", same), w("a", same)}, []target{{"a", 80, 9000}, {"a", 81, 8081}, {"b", 80, 9000}, {"b", 81, 8081}}},
		{"the workload's word for one port wins", named, []Workload{w("a", func(w *Workload) { w.Ports = append(w.Ports, WorkloadPort{ServicePort: 81, Port: 9001}) })}, []target{{"a", 80, 9000}, {"a", 81, 9001}}},
		{"no port for it", named, []Workload{w("a", func(w *Workload) { w.Ports = nil })}, []target{{"a", 81, 8081}}},
		{"a service without ports", bare, []Workload{w("a", func(w *Workload) { w.Ports[0].ServicePort = 7 })}, []target{{"a", 0, 9000}}},
		{"another account", named, []Workload{w("a", func(w *Workload) { w.Account = "x" })}, nil},
		{"another namespace", named, []Workload{w("a", func(w *Workload) { w.Namespace, w.Account = "blue", "x" })}, nil},
		{"another service", named, []Workload{w("a", func(w *Workload) { w.Services = []string{"ratings"} })}, nil},
		{"no accounts, no endpoints", Service{Meta: meta("reviews")}, []Workload{w("a", same)}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []target
			for _, e := range Endpoints(&tc.service, tc.workloads) {
				got = append(got, target{e.Workload.Name, e.ServicePort, e.TargetPort})
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("endpoints (-want +got):\n%s", diff)
			}
		})
	}
}

// Row C3: two services may share a workload, each with ports of its own, and neither sees the other's.
func TestC3_TwoServicesShareAWorkload(t *testing.T) {
	w := Workload{Meta: meta("a"), Account: "shop", Services: []string{"web", "admin"}, Ports: []WorkloadPort{{ServicePort: 80, Port: 8080}, {ServicePort: 81, Port: 8081}}}
	web := Service{Meta: meta("web"), Accounts: []string{"shop"}, Ports: []ServicePort{{Port: 80}}}
	admin := Service{Meta: meta("admin"), Accounts: []string{"shop"}, Ports: []ServicePort{{Port: 81}}}
	for _, tc := range []struct {
		service Service
		want    uint16
	}{{web, 8080}, {admin, 8081}} {
		got := Endpoints(&tc.service, []Workload{w})
		if len(got) != 1 || got[0].TargetPort != tc.want || got[0].Service != tc.service.Key {
			t.Errorf("service %q: want one endpoint on %d, got %+v", tc.service.Name, tc.want, got)
		}
	}
}

// A service may have one number twice, for TCP and for UDP, as DNS has; each finds the app's port of its own transport.
func TestEndpointsAreOfOneTransport(t *testing.T) {
	type target struct {
		Service, Target uint16
		UDP             bool
	}
	dns := []ServicePort{{Name: "udp", Port: 53, Protocol: ProtocolUDP}, {Name: "tcp", Port: 53, Protocol: ProtocolTCP}}
	for _, tc := range []struct {
		name    string
		service []ServicePort
		app     []WorkloadPort
		want    []target
	}{
		{"one number for both", dns, []WorkloadPort{{Port: 5353, Protocol: ProtocolTCP}, {Port: 5354, Protocol: ProtocolUDP}}, []target{{53, 5353, false}, {53, 5354, true}}},
		{"only UDP", dns, []WorkloadPort{{Port: 5354, Protocol: ProtocolUDP}}, []target{{53, 5354, true}}},
		{"the port itself, but of the other transport", dns[:1], []WorkloadPort{{ServicePort: 53, Port: 5353, Protocol: ProtocolTCP}}, nil},
		{"the workload does not say", dns, []WorkloadPort{{Port: 5353}}, []target{{53, 5353, false}, {53, 5353, true}}},
		{"the service does not say", []ServicePort{{Port: 53}}, []WorkloadPort{{Port: 5354, Protocol: ProtocolUDP}}, []target{{53, 5354, true}}},
		{"a service without ports", nil, []WorkloadPort{{Port: 5354, Protocol: ProtocolUDP}, {Port: 5353, Protocol: ProtocolTCP}, {Port: 1}}, []target{{0, 5353, false}, {0, 5354, true}}},
		{"a service without ports, only UDP", nil, []WorkloadPort{{Port: 5354, Protocol: ProtocolUDP}}, []target{{0, 5354, true}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			svc := Service{Meta: meta("dns"), Accounts: []string{"dns"}, Ports: tc.service}
			var got []target
			for _, e := range Endpoints(&svc, []Workload{{Meta: meta("a"), Account: "dns", Services: []string{"dns"}, Ports: tc.app}}) {
				got = append(got, target{e.ServicePort, e.TargetPort, e.Protocol.UDP()})
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("endpoints (-want +got):\n%s", diff)
			}
		})
	}
}
