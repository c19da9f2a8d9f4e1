package walktest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// TestE3_UDPBetweenSidecarsIsTLS looks at the bytes between the sidecars: TLS records and nothing else.
func TestE3_UDPBetweenSidecarsIsTLS(t *testing.T) {
	m := New(t)
	m.Service("dns", table.UDP)
	w := m.Sidecar("dns", "dns-1", udpProgram(t, named("an-open-answer")), m.Allow("shop"))
	ep, wire := tapped(t, w.Endpoint, w.Mesh)
	m.Add(ep)
	c := m.Client("shop")
	const question = "an-open-question"
	if got := udpDial(t, c.packets("dns")).ask(question); got != "an-open-answer "+question {
		t.Fatalf("got %q", got)
	}
	for i, side := range []string{"to the server", "to the client"} {
		seen := wire.seen(i)
		if bytes.Contains(seen, []byte(question)) || bytes.Contains(seen, []byte("an-open-answer")) {
			t.Errorf("%s: the datagram is readable on the wire", side)
		}
		records := 0
		for rest := seen; len(rest) > 0; records++ {
			if len(rest) < 5 || rest[0] < 20 || rest[0] > 23 || rest[1] != 3 {
				t.Fatalf("%s: not a TLS record: % x", side, rest[:min(len(rest), 16)])
			}
			rest = rest[min(len(rest), 5+int(binary.BigEndian.Uint16(rest[3:]))):]
		}
		if records < 3 {
			t.Errorf("%s: %d records", side, records)
		}
	}
}

func TestUDPRecordsKnowBothEnds(t *testing.T) {
	m := New(t)
	m.Service("dns", table.UDP)
	w := m.Workload("dns", "dns-1", udpProgram(t, named("a")), m.Allow("shop"))
	c := m.Client("shop")
	udp := udpDial(t, c.packets("dns"))
	udp.ask("first")
	udp.ask("")
	if n := c.Outbound.Datagrams().Len(); n != 1 {
		t.Errorf("%d sessions for one client", n)
	}
	if err := c.Outbound.Drain(t.Context()); err != nil { // ends the session, once it is quiet
		t.Fatal(err)
	}
	for _, rec := range []flow.Record{c.Records.Wait(1)[0], w.Records.Wait(1)[0]} {
		if rec.Protocol != flow.UDP || rec.Reason != flow.None || !rec.MTLS || rec.Service != "default/dns" {
			t.Errorf("%v record %+v", rec.Direction, rec)
		}
		if rec.BytesSent != 5 || rec.BytesReceived != 5+4 || rec.DatagramsSent != 2 || rec.DatagramsReceived != 2 || rec.DatagramsDropped != 0 {
			t.Errorf("%v counts %+v", rec.Direction, rec)
		}
	}
	if rec := w.Records.Wait(1)[0]; rec.Peer != m.CA.ID(t, Account("shop")) || rec.Rule != "default/allow[0]" {
		t.Errorf("record %+v", rec)
	}
}

// TestL1_UDPSessionsAreBalanced: sessions are spread over exactly the endpoints of the set, and each keeps its own.
func TestL1_UDPSessionsAreBalanced(t *testing.T) {
	m := New(t)
	m.Service("dns", table.UDP)
	m.Change(func(_ *table.Mesh, services map[string]*table.Service) {
		services["default/dns"].Balancing = table.RoundRobin
	})
	keys := map[string]string{}
	for _, name := range []string{"dns-1", "dns-2", "dns-3"} {
		keys[name] = m.Workload("dns", name, udpProgram(t, named(name)), m.Allow("shop")).Endpoint.Key
	}
	c := m.Client("shop")
	addr := c.packets("dns")
	var clients []*udpClient
	var first []string
	count := map[string]int{}
	for range 30 {
		udp := udpDial(t, addr)
		name, _, _ := strings.Cut(udp.ask("who"), " ")
		clients, first = append(clients, udp), append(first, name)
		count[name]++
	}
	if len(count) != 3 || count["dns-1"] != 10 || count["dns-2"] != 10 {
		t.Errorf("sessions by endpoint: %v", count)
	}
	for i, udp := range clients {
		if name, _, _ := strings.Cut(udp.ask("again"), " "); name != first[i] {
			t.Errorf("a session of %s was continued by %s", first[i], name)
		}
	}

	// An endpoint leaves: its sessions go elsewhere, those of the others stay.
	m.Remove(keys["dns-2"])
	for i, udp := range clients {
		left := func(answer string) bool { return !strings.HasPrefix(answer, "dns-2") }
		name, _, _ := strings.Cut(udp.insist("after", left), " ")
		if first[i] != "dns-2" && name != first[i] {
			t.Errorf("a session of %s moved to %s", first[i], name)
		}
	}
}

func TestUDPAndTCPOfOneNumber(t *testing.T) {
	m := New(t)
	m.Service("dns", table.TCP)
	tcp := program(t, greet)
	m.Add(Plain("dns", "dns-1", tcp))
	ep := Plain("dns", "dns-1", udpProgram(t, named("udp")))
	ep.UDP, ep.ServicePort, ep.Key = true, 80, ep.Key+"/udp"
	m.Change(func(_ *table.Mesh, services map[string]*table.Service) {
		svc := services["default/dns"]
		svc.Ports = append(svc.Ports, table.ServicePort{Number: 80, Protocol: table.UDP})
		set := svc.Rules[0].Backends[0].Set
		set.Endpoints[0].ServicePort = 80
		set.Endpoints = append(set.Endpoints, ep)
	})
	c := m.Client("shop")
	for range 8 { // a wrong choice would be made half of the time
		if got := udpDial(t, c.packets("dns")).ask("x"); got != "udp x" {
			t.Errorf("UDP: got %q", got)
		}
		conn := dial(t, c.Upstream("dns"))
		line := make([]byte, 11)
		if _, err := conn.Read(line); err != nil || string(line) != "220 ready\r\n" {
			t.Errorf("TCP: got %q, %v", line, err)
		}
	}
}

func TestUDPIsDeniedReadably(t *testing.T) {
	m := New(t)
	m.Service("dns", table.UDP)
	w := m.Workload("dns", "dns-1", udpProgram(t, named("a")), m.Allow("somebody-else"))
	c := m.Client("shop")
	udpDial(t, c.packets("dns")).send("may I?")
	for _, rec := range []flow.Record{w.Records.Wait(1)[0], c.Records.Wait(1)[0]} {
		if rec.Reason != flow.Denied {
			t.Errorf("%v record %+v", rec.Direction, rec)
		}
	}
}

func TestUDPIsCutWhenAccessEnds(t *testing.T) {
	m := New(t)
	m.Service("dns", table.UDP)
	w := m.Workload("dns", "dns-1", udpProgram(t, named("a")), m.Allow("shop", "other"))
	shop, other := m.Client("shop"), m.Client("other")
	first, second := udpDial(t, shop.packets("dns")), udpDial(t, other.packets("dns"))
	first.ask("x")
	second.ask("x")
	w.configure(func(t *table.Table) { t.Access = m.Allow("other") })
	if rec := w.Records.Wait(1)[0]; rec.Reason != flow.Denied || rec.Peer != m.CA.ID(t, Account("shop")) {
		t.Errorf("record %+v", rec)
	}
	if rec := shop.Records.Wait(1)[0]; rec.Reason != flow.Denied {
		t.Errorf("the caller's record %+v", rec)
	}
	second.ask("still")
	if n := other.Outbound.Datagrams().Len(); n != 1 {
		t.Errorf("the other caller has %d sessions", n)
	}
}

// TestUDPGoesElsewhere: a dead sidecar costs nothing, a dead program the datagrams that it was sent.
func TestUDPGoesElsewhere(t *testing.T) {
	m := New(t)
	m.Service("dns", table.UDP)
	alive := m.Workload("dns", "alive", udpProgram(t, named("alive")), m.Allow("shop"))
	gone := *alive.Endpoint
	gone.Key, gone.Workload = "default/gone", "default/gone"
	gone.MeshPort = uint16(Refusing(t).(*net.TCPAddr).Port)
	m.Add(&gone)
	c := m.Client("shop")
	addr := c.packets("dns")
	for range 10 {
		if got := udpDial(t, addr).ask("x"); got != "alive x" {
			t.Errorf("got %q", got)
		}
	}
	m.Remove(gone.Key)

	deaf, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	dead := m.Sidecar("dns", "dead", deaf.LocalAddr(), m.Allow("shop"))
	deaf.Close()
	m.Change(func(_ *table.Mesh, services map[string]*table.Service) {
		set := services["default/dns"].Rules[0].Backends[0].Set
		set.Endpoints = []*table.Endpoint{dead.Endpoint}
	})
	fresh := m.Client("shop")
	udp := udpDial(t, fresh.packets("dns"))
	udp.send("x")
	for _, rec := range []flow.Record{dead.Records.Wait(1)[0], fresh.Records.Wait(1)[0]} {
		if rec.Reason != flow.Connect {
			t.Errorf("%v record %+v", rec.Direction, rec)
		}
	}
	m.Add(alive.Endpoint)
	udp.insist("x", func(answer string) bool { return answer == "alive x" })
}

func TestUDPPlaintextIsJudgedByTheMode(t *testing.T) {
	for _, tt := range []struct {
		mode table.MTLSMode
		want flow.Reason
	}{{table.Permissive, flow.None}, {table.Off, flow.None}, {table.Strict, flow.Plaintext}} {
		t.Run(fmt.Sprint(tt.mode), func(t *testing.T) {
			m := New(t)
			m.Service("dns", table.UDP)
			m.Change(func(mesh *table.Mesh, _ map[string]*table.Service) { mesh.MTLS = tt.mode })
			w := m.Sidecar("dns", "meshed", udpProgram(t, named("in")), &table.Access{Open: true})
			bare := Plain("dns", "bare", udpProgram(t, named("out")))
			bare.UDP = true
			m.Add(bare)
			c := m.Client("shop")
			out, in := udpDial(t, c.packets("dns")), udpDial(t, w.plaintextPackets(t))
			if tt.want == flow.None {
				if got := out.ask("x") + in.ask("y"); got != "out xin y" {
					t.Errorf("got %q", got)
				}
				return
			}
			out.send("x")
			in.send("y")
			for _, rec := range []flow.Record{c.Records.Wait(1)[0], w.Records.Wait(1)[0]} {
				if rec.Reason != tt.want || rec.MTLS {
					t.Errorf("%v record %+v", rec.Direction, rec)
				}
			}
		})
	}
}

// TestUDPPlaintextEndsWithStrict: what began in plaintext does not go on once the mesh is strict.
func TestUDPPlaintextEndsWithStrict(t *testing.T) {
	m := New(t)
	m.Service("dns", table.UDP)
	bare := Plain("dns", "bare", udpProgram(t, named("out")))
	bare.UDP = true
	m.Add(bare)
	w := m.Sidecar("dns", "meshed", udpProgram(t, named("in")), &table.Access{Open: true})
	c := m.Client("shop")
	udpDial(t, c.packets("dns")).ask("x")
	udpDial(t, w.plaintextPackets(t)).ask("y")
	m.Change(func(mesh *table.Mesh, _ map[string]*table.Service) { mesh.MTLS = table.Strict })
	w.configure(func(t *table.Table) { t.Mesh.MTLS = table.Strict })
	if rec := c.Records.Wait(1)[0]; rec.Reason != flow.Plaintext {
		t.Errorf("record %+v", rec)
	}
	if rec := w.Records.Wait(1)[0]; rec.Reason != flow.Plaintext {
		t.Errorf("record %+v", rec)
	}
}
