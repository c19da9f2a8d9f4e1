package datagram

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDeadPeersAreDetected asks the kernel for what it was told; to wait for it would need a network that loses everything.
func TestDeadPeersAreDetected(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	DetectDead(conn)
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if ms, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); err != nil || ms != int(deadAfter.Milliseconds()) {
			t.Errorf("the limit is %d ms, %v", ms, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
