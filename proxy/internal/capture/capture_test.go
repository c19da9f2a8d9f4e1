package capture

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestConfigNamesWhatIsWrong(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		want string // empty: valid
	}{
		{"default", Default(), ""},
		{"nowhere", Config{Inbound: 1}, "outbound-port"},
		{"same port", Config{Outbound: 1, Inbound: 1}, "inbound-port"},
		{"excludes 0", Config{Outbound: 1, Inbound: 2, ExcludeOutbound: []uint16{0}}, "exclude-outbound"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.cfg.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("want %q, got %v", tt.want, err)
			}
		})
	}
}

// A control message as the kernel writes it: the address that a datagram was sent to.
func TestDestinationOfDatagram(t *testing.T) {
	message := func(level, kind int32, data []byte) []byte {
		b := make([]byte, unix.CmsgSpace(len(data)))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		h.Level, h.Type = level, kind
		h.SetLen(unix.CmsgLen(len(data)))
		copy(b[unix.CmsgLen(0):], data)
		return b
	}
	v4 := make([]byte, unix.SizeofSockaddrInet4)
	copy(v4, []byte{unix.AF_INET, 0, 0x14, 0xe9, 198, 18, 0, 7})
	v6 := make([]byte, unix.SizeofSockaddrInet6)
	copy(v6, []byte{unix.AF_INET6, 0, 0x14, 0xe9})
	copy(v6[8:], netip.MustParseAddr("fd00::7").AsSlice())
	tests := []struct {
		name string
		oob  []byte
		want string
	}{
		{"IPv4", message(unix.SOL_IP, unix.IP_ORIGDSTADDR, v4), "198.18.0.7:5353"},
		{"IPv6", message(unix.SOL_IPV6, unix.IPV6_ORIGDSTADDR, v6), "[fd00::7]:5353"},
		{"something else first", append(message(unix.SOL_SOCKET, unix.SO_TIMESTAMP, make([]byte, 16)), message(unix.SOL_IP, unix.IP_ORIGDSTADDR, v4)...), "198.18.0.7:5353"},
		{"none", nil, ""},
		{"another message", message(unix.SOL_SOCKET, unix.SO_TIMESTAMP, make([]byte, 16)), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := destinationOf(tt.oob)
			if ok != (tt.want != "") || ok && got.String() != tt.want {
				t.Errorf("want %q, got %v %v", tt.want, got, ok)
			}
		})
	}
}

func TestOriginalOfWhatIsNoTCP(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := Original(a); err == nil || !strings.Contains(err.Error(), "not a TCP socket") {
		t.Errorf("got %v", err)
	}
}
