package datagram

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// TestSocketAnswersFromWhereItWasAsked: a connected client takes an answer from nowhere else.
func TestSocketAnswersFromWhereItWasAsked(t *testing.T) {
	hosts := []string{"127.0.0.1"}
	if runtime.GOOS == "linux" {
		hosts = append(hosts, "127.0.0.2", "127.1.2.3") // all of 127.0.0.0/8 is the host's own
	}
	for _, at := range []string{"127.0.0.1:0", "[::]:0", "0.0.0.0:0"} {
		s, err := listen(at)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for _, host := range hosts {
			if at == "127.0.0.1:0" && host != "127.0.0.1" {
				continue
			}
			c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), s.Addr().Port())))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.Write([]byte("who?"))
			b := make([]byte, 100)
			n, from, to, err := s.Read(b)
			if err != nil || string(b[:n]) != "who?" || to.Port() != s.Addr().Port() {
				t.Fatalf("%s at %s: %q to %s, %v", at, host, b[:n], to, err)
			}
			if err := s.Reply([]byte("me"), to, from); err != nil {
				t.Fatalf("%s at %s: %v", at, host, err)
			}
			c.SetReadDeadline(time.Now().Add(20 * time.Second))
			if n, err := c.Read(b); err != nil || string(b[:n]) != "me" {
				t.Errorf("%s at %s: got %q, %v", at, host, b[:n], err)
			}
		}
	}
}
