package datagram

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestBound(t *testing.T) {
	const head = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n"
	const rest = " 00000000:00000000 00:00000000 00000000     0        0 30711 2 0000000000000000 0\n"
	line4 := func(local, state string) string { return "  129: " + local + " 00000000:0000 " + state + rest }
	line6 := func(local, state string) string {
		return "  129: " + local + " 00000000000000000000000000000000:0000 " + state + rest
	}
	for _, tt := range []struct {
		name       string
		udp, udp6  string
		addr       string
		want, fail bool
	}{
		{"nothing", "", "", "127.0.0.1:5353", false, false},
		{"loopback", line4("0100007F:14E9", "07"), "", "127.0.0.1:5353", true, false},
		{"every address", line4("00000000:14E9", "07"), "", "127.0.0.1:5353", true, false},
		{"every address of both families", "", line6("00000000000000000000000000000000:14E9", "07"), "127.0.0.1:5353", true, false},
		{"loopback of IPv6", "", line6("00000000000000000000000001000000:14E9", "07"), "[::1]:5353", true, false},
		{"loopback of IPv6, asked by IPv4", "", line6("00000000000000000000000001000000:14E9", "07"), "127.0.0.1:5353", false, false},
		{"every address of IPv4, asked by IPv6", line4("00000000:14E9", "07"), "", "[::1]:5353", false, false},
		{"another port", line4("0100007F:14EA", "07"), "", "127.0.0.1:5353", false, false},
		{"another address", line4("0200007F:14E9", "07"), "", "127.0.0.1:5353", false, false},
		{"a client's socket", line4("0100007F:14E9", "01"), "", "127.0.0.1:5353", false, false},
		{"among others", line4("0200007F:14E9", "07") + "garbage\n\n" + line4("zz:14E9", "07") + line4("0100007F:14E9", "07"), "", "127.0.0.1:5353", true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range map[string]string{"udp": tt.udp, "udp6": tt.udp6} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(head+text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Bound(dir, netip.MustParseAddrPort(tt.addr))
			if got != tt.want || err != nil {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	if _, err := Bound(t.TempDir(), netip.MustParseAddrPort("127.0.0.1:53")); err == nil {
		t.Error("without a list it says that it knows")
	}
}

// TestBoundOfTheKernel also shows that the socket is not disturbed.
func TestBoundOfTheKernel(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the list is Linux's")
	}
	for _, at := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0"} {
		s, err := listen(at)
		if err != nil {
			t.Fatal(err)
		}
		addr := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), s.Addr().Port())
		if got, err := Bound("/proc/net", addr); !got || err != nil {
			t.Errorf("%s: %v, %v", at, got, err)
		}
		client, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
		if err != nil {
			t.Fatal(err)
		}
		client.Write([]byte("first"))
		b := make([]byte, 10)
		if n, _, _, err := s.Read(b); err != nil || string(b[:n]) != "first" {
			t.Errorf("%s: the first datagram is %q, %v", at, b[:n], err)
		}
		client.Close()
		s.Close()
		if got, err := Bound("/proc/net", addr); got || err != nil {
			t.Errorf("%s, closed: %v, %v", at, got, err)
		}
	}
}
