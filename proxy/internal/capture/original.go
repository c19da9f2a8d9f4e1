package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// originalIPv6 is IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h, at the level SOL_IPV6.
const originalIPv6 = 80

var errNotTCP = errors.New("not a TCP socket")

// Original returns where the program wanted to go when it opened a connection that was redirected. For one that was not, that
// is the listener itself.
func Original(conn net.Conn) (netip.AddrPort, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("original destination of %s: %w", conn.RemoteAddr(), errNotTCP)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination: %w", err)
	}
	local, _ := tcp.LocalAddr().(*net.TCPAddr)
	v4 := local != nil && local.IP.To4() != nil
	var dst netip.AddrPort
	var failed error
	if err := raw.Control(func(fd uintptr) { dst, failed = original(fd, v4) }); err != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination: %w", err)
	}
	if failed != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination of %s: %w", conn.RemoteAddr(), failed)
	}
	return dst, nil
}

func original(fd uintptr, v4 bool) (netip.AddrPort, error) {
	if v4 {
		var sa unix.RawSockaddrInet4
		err := getsockopt(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST, unsafe.Pointer(&sa), unsafe.Sizeof(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), hostOrder(&sa.Port)), err
	}
	var sa unix.RawSockaddrInet6
	err := getsockopt(fd, unix.SOL_IPV6, originalIPv6, unsafe.Pointer(&sa), unsafe.Sizeof(sa))
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), hostOrder(&sa.Port)), err
}

func getsockopt(fd uintptr, level, name int, value unsafe.Pointer, size uintptr) error {
	length := uint32(size)
	_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, uintptr(level), uintptr(name), uintptr(value), uintptr(unsafe.Pointer(&length)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// hostOrder reads a port that the kernel holds in network order.
func hostOrder(port *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(port))[:])
}
