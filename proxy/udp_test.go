package proxy_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy"
)

// TestUDPFromProgramToProgram: a program is registered once it has bound its port, not before and without being asked; then
// another one reaches it through both sidecars, and both count the session.
func TestUDPFromProgramToProgram(t *testing.T) {
	r := newRig(t, http.NotFoundHandler())
	port := freeUDP(t)
	cfg := config(t, "dns-1")
	cfg.Services, cfg.AppPort, cfg.Protocol = []string{"dns"}, port, "udp"
	cfg.JoinToken = r.plane.Token(spiffe.Account{Namespace: "default", Name: "dns"})
	r.plane.Distributor.Set("default/dns-1", mesh(), access(true), &configpb.Resource{Name: "inbound", Body: &configpb.Resource_Inbound{
		Inbound: &configpb.Inbound{Namespace: "default", Workload: "dns-1", Account: "dns", Ports: []*configpb.InboundPort{
			{Service: "default/dns", Port: 53, TargetPort: uint32(port), Protocol: typepb.Protocol_PROTOCOL_UDP},
		}},
	}})
	dns := r.start(cfg)
	r.until("not ready", func() error {
		if _, err := dns.admin("/readyz"); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("has not bound port %d of UDP", port)) {
			return fmt.Errorf("readyz says %w", errors.Join(err))
		}
		return nil
	})
	if dns.ports.Inbound != "" {
		t.Errorf("it listens for plaintext by TCP at %s", dns.ports.Inbound)
	}

	app, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	w, err := r.plane.Discovery.Await(r.ctx, "default/dns-1", true)
	if err != nil {
		t.Fatal(err)
	}
	if p := w.GetSpec().GetPorts(); len(p) != 1 || p[0].GetProtocol() != typepb.Protocol_PROTOCOL_UDP {
		t.Errorf("registered with %v", p)
	}

	caller := config(t, "caller-1")
	caller.Upstreams = []proxy.Upstream{{Namespace: "default", Name: "dns", Port: 53, UDP: true}}
	caller.JoinToken = r.plane.Token(spiffe.Account{Namespace: "default", Name: "caller"})
	r.plane.Distributor.Set("default/caller-1", mesh(), access(true),
		&configpb.Resource{Name: "service/default/dns", Body: &configpb.Resource_Service{Service: &configpb.Service{
			Name: "default/dns", Ports: []*configpb.ServicePort{{Port: 53, Protocol: typepb.Protocol_PROTOCOL_UDP}},
		}}},
		&configpb.Resource{Name: "endpoints/default/dns", Body: &configpb.Resource_Endpoints{Endpoints: &configpb.EndpointSet{
			Service: "default/dns", Ids: []string{"spiffe://weft.local/ns/default/sa/dns"},
			Endpoints: []*configpb.Endpoint{{
				Workload: "dns-1", Address: []byte{127, 0, 0, 1}, MeshPort: w.GetSpec().GetMeshPort(), Port: 53, TargetPort: uint32(port), Udp: true,
				Id: "spiffe://weft.local/ns/default/sa/dns",
			}},
		}}})
	c := r.start(caller)
	conn, err := net.Dial("udp", c.ports.Upstreams["default/dns:53/udp"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("question"))
	buf := make([]byte, 100)
	app.SetDeadline(time.Now().Add(patience))
	n, from, err := app.ReadFromUDPAddrPort(buf)
	if err != nil || string(buf[:n]) != "question" { // and nothing before it
		t.Fatalf("the program got %q, %v", buf[:n], err)
	}
	app.WriteToUDPAddrPort([]byte("answer"), from)
	conn.SetDeadline(time.Now().Add(patience))
	if n, err := conn.Read(buf); err != nil || string(buf[:n]) != "answer" {
		t.Fatalf("the caller got %q, %v", buf[:n], err)
	}
	for direction, car := range map[string]*car{"outbound": c, "inbound": dns} {
		metrics, err := car.admin("/metrics")
		for _, want := range []string{
			fmt.Sprintf(`weft_proxy_udp_sessions{direction=%q} 1`, direction),
			fmt.Sprintf(`weft_proxy_udp_dropped_datagrams_total{cause="backpressure",direction=%q} 0`, direction),
			`mtls="true",protocol="udp"`,
		} {
			if err != nil || !strings.Contains(metrics, want) {
				t.Errorf("no %s in the metrics of the %s side (%v)", want, direction, err)
			}
		}
	}
}

// freeUDP is a port that nobody has bound.
func freeUDP(t *testing.T) uint16 {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return uint16(c.LocalAddr().(*net.UDPAddr).Port)
}
