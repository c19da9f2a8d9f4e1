package discovery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

// event is one thing that happens to the catalogue.
type event struct {
	What, Replica, Service, Workload, Variant int
}

func events() *rapid.Generator[[]event] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event {
		n := func(name string, limit int) int { return rapid.IntRange(0, limit-1).Draw(t, name) }
		return event{What: n("what", 8), Replica: n("replica", 2), Service: n("service", 3), Workload: n("workload", 5), Variant: n("variant", 6)}
	}), 1, 40)
}

// The variants: dual stack, target ports of the service, of the workload for one port or for all, and the same one twice.
func servicePorts(variant int) []*discoverypb.ServicePort {
	return [][]*discoverypb.ServicePort{
		nil,
		{{Name: "a", Port: 80}},
		{{Name: "a", Port: 80, TargetPort: 8080}},
		{{Name: "a", Port: 80, TargetPort: 8080}, {Name: "b", Port: 81, TargetPort: 8080}},
		{{Name: "a", Port: 80}, {Name: "b", Port: 81, TargetPort: 9090}},
		{{Name: "a", Port: 81}},
	}[variant]
}

func serviceAccounts(variant int) []string {
	return [][]string{{"shop"}, {"shop"}, {"shop", "other"}, {"shop"}, {"default/shop"}, {"other"}}[variant]
}

func workloadPorts(variant int) []*discoverypb.WorkloadPort {
	return [][]*discoverypb.WorkloadPort{
		{{Port: 7000}},
		{{ServicePort: 80, Port: 7080}},
		{{ServicePort: 80, Port: 7080}, {ServicePort: 81, Port: 7080}},
		{{Port: 7000}, {ServicePort: 81, Port: 7081}},
		nil,
		{{Port: 7000}},
	}[variant]
}

func address(e event) string {
	if e.Variant%2 == 0 {
		return fmt.Sprintf("10.0.0.%d", e.Workload+1)
	}
	return fmt.Sprintf("2001:db8::%d", e.Workload+1)
}

// catalogueModel is the catalogue as a list of facts, kept as simply as can be.
type catalogueModel struct {
	services  map[string]event
	workloads map[string]registered
}

type registered struct {
	event
	services []string
}

func named(e event) (service, name string) {
	return fmt.Sprintf("s%d", e.Service), fmt.Sprintf("w%d", e.Workload)
}

// wants says which services a workload of this event names.
func wants(e event) []string {
	a := fmt.Sprintf("s%d", e.Service)
	if e.Variant < 3 {
		return []string{a}
	}
	return []string{a, fmt.Sprintf("s%d", (e.Service+1)%3)}
}

// endpoints spells out, port by port, what must be there.
func (m *catalogueModel) endpoints(service string) []string {
	s, ok := m.services[service]
	if !ok {
		return nil
	}
	var out []string
	for name, w := range m.workloads {
		if !slices.Contains(w.services, service) || serviceAccounts(s.Variant)[0] == "other" {
			continue
		}
		ports := servicePorts(s.Variant)
		if ports == nil {
			if own := workloadPorts(w.Variant); own != nil {
				out = append(out, line(name, w.event, 0, own[0].GetPort()))
			}
			continue
		}
		for _, p := range ports {
			if target := expectedTarget(p, workloadPorts(w.Variant)); target != 0 {
				out = append(out, line(name, w.event, p.GetPort(), target))
			}
		}
	}
	slices.Sort(out)
	return out
}

func expectedTarget(p *discoverypb.ServicePort, own []*discoverypb.WorkloadPort) uint32 {
	for _, o := range own {
		if o.GetServicePort() == p.GetPort() {
			return o.GetPort()
		}
	}
	if p.GetTargetPort() != 0 {
		return p.GetTargetPort()
	}
	for _, o := range own {
		if o.GetServicePort() == 0 {
			return o.GetPort()
		}
	}
	return 0
}

func line(name string, e event, port, target uint32) string {
	return fmt.Sprintf("%s %s mesh %d port %d target %d", name, address(e), 15008, port, target)
}

// Rows D4 and D6: whatever happens in whatever order, the endpoints of every service are exactly those that follow from what
// has been acknowledged, on every replica.
func TestD6_EndpointsAreExactlyWhatWasRegistered(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		script := events().Draw(rt, "events")
		var problem string
		synctest.Test(t, func(t *testing.T) { problem = perform(newRig(t), script) })
		if problem != "" {
			rt.Fatal(problem)
		}
	})
}

func TestD4_ServiceListEqualsTheEndpointSet(t *testing.T) {
	script := []event{{What: 0, Service: 0, Variant: 3}, {What: 4, Workload: 0, Variant: 0}, {What: 4, Workload: 1, Variant: 1}, {What: 7, Workload: 0}}
	inBubble(t, func(r *rig) {
		if problem := perform(r, script); problem != "" {
			t.Error(problem)
		}
		d := r.start("c")
		if diff := cmp.Diff([]string{"s0"}, d.names()); diff != "" {
			t.Errorf("services (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"w1", "w1"}, d.endpoints("s0")); diff != "" {
			t.Errorf("endpoints (-want +got):\n%s", diff)
		}
	})
}

func perform(r *rig, script []event) string {
	replicas := []*replica{r.start("a"), r.start("b")}
	m := &catalogueModel{services: map[string]event{}, workloads: map[string]registered{}}
	for i, e := range script {
		happen(replicas[e.Replica], m, e)
		for _, d := range replicas {
			for s := range 3 {
				name := fmt.Sprintf("s%d", s)
				if diff := cmp.Diff(m.endpoints(name), d.list(name)); diff != "" {
					return fmt.Sprintf("after event %d %+v, service %s at %s (-want +got):\n%s", i, e, name, d.name, diff)
				}
			}
		}
	}
	return ""
}

func happen(d *replica, m *catalogueModel, e event) {
	service, name := named(e)
	ctx := d.rig.t.Context()
	switch e.What {
	case 0, 1, 2: // a service is made or changed
		p := &discoverypb.Service{
			Metadata: &typepb.ObjectMeta{Name: service},
			Spec:     &discoverypb.ServiceSpec{Accounts: serviceAccounts(e.Variant), Ports: servicePorts(e.Variant)},
		}
		if _, exists := m.services[service]; exists {
			_, _ = d.UpdateService(ctx, &discoverypb.UpdateServiceRequest{Service: p}) // the model would show a failure
		} else {
			_, _ = d.CreateService(ctx, &discoverypb.CreateServiceRequest{Service: p})
		}
		m.services[service] = e
	case 3: // or deleted
		_, _ = d.DeleteService(ctx, &discoverypb.DeleteServiceRequest{Name: service})
		delete(m.services, service)
	case 4, 5, 6: // a workload registers, and is refused if one of its services does not admit it
		p := workload(name, wants(e)...)
		p.Spec.Address, p.Spec.Ports = address(e), workloadPorts(e.Variant)
		d.connect("shop", p)
		if m.admitted(e) {
			m.workloads[name] = registered{e, wants(e)}
		}
	default: // or deregisters
		_, _ = d.Deregister(as(ctx, "shop"), &discoverypb.DeregisterRequest{Name: name})
		delete(m.workloads, name)
	}
}

func (m *catalogueModel) admitted(e event) bool {
	for _, name := range wants(e) {
		s, exists := m.services[name]
		if !exists || serviceAccounts(s.Variant)[0] == "other" {
			return false
		}
	}
	return true
}

// list spells out the endpoints as the model does; a service that does not exist has none.
func (r *replica) list(service string) []string {
	got, err := r.ListEndpoints(r.rig.t.Context(), &discoverypb.ListEndpointsRequest{Service: service})
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range got.GetEndpoints() {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s mesh %d port %d target %d", e.GetWorkload(), e.GetAddress(), e.GetMeshPort(), e.GetServicePort(), e.GetTargetPort())))
	}
	slices.Sort(out)
	return out
}

func TestEndpointsCarryLabelsAndState(t *testing.T) {
	inBubble(t, func(r *rig) {
		d := r.start("a")
		d.service("reviews", "reviews")
		w := workload("reviews-1", "reviews")
		w.Spec.Labels = map[string]string{"version": "v2"}
		d.connect("reviews", w)
		got, err := d.ListEndpoints(t.Context(), &discoverypb.ListEndpointsRequest{Service: "reviews"})
		if err != nil || got.GetRevision().GetEpoch() == "" {
			t.Fatalf("want a revision, got %v, %v", got, err)
		}
		want := &discoverypb.Endpoint{
			Namespace: "default", Service: "reviews", Workload: "reviews-1", Account: "reviews", Address: "10.0.0.1",
			MeshPort: 15008, ServicePort: 80, TargetPort: 8080, Labels: map[string]string{"version": "v2"}, State: ready,
		}
		if !proto.Equal(want, got.GetEndpoints()[0]) {
			t.Errorf("want %v, got %v", want, got.GetEndpoints()[0])
		}
	})
}
