package table

import "testing"

func TestPortsAreFoundByNumberAndTransport(t *testing.T) {
	dns := []ServicePort{{53, TCP}, {53, UDP}, {80, HTTP}}
	for _, tt := range []struct {
		name     string
		ports    []ServicePort
		number   uint16
		tcp, udp Protocol // none: not found
	}{
		{"both", dns, 53, TCP, UDP},
		{"only TCP", dns, 80, HTTP, none},
		{"the only one of UDP", dns, 0, none, UDP},
		{"the only one of each", dns[:2], 0, TCP, UDP},
		{"the only one", dns[2:], 0, HTTP, none},
		{"neither", dns, 81, none, none},
		{"undeclared", nil, 81, Detect, UDP},
	} {
		svc := Service{Ports: tt.ports}
		check := func(transport string, want Protocol, find func(uint16) (ServicePort, bool)) {
			if got, ok := find(tt.number); ok != (want != none) || ok && got.Protocol != want {
				t.Errorf("%s, %s: got %v, %v, want protocol %v", tt.name, transport, got, ok, want)
			}
		}
		check("TCP", tt.tcp, svc.Port)
		check("UDP", tt.udp, svc.UDPPort)
	}
}

const none Protocol = 255
