package walktest

import (
	"net"
	"syscall"
	"testing"
)

// Refusing is an address that refuses connections for as long as the test runs: its port is taken, so that nobody else gets
// it, but nobody listens.
func Refusing(tb testing.TB) net.Addr {
	tb.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		tb.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		tb.Fatal(err)
	}
	at := name.(*syscall.SockaddrInet4)
	return &net.TCPAddr{IP: at.Addr[:], Port: at.Port}
}
