package datagram

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Bound says whether some socket would get the datagrams that are sent to an address. It reads the kernel's list of sockets
// below dir ("/proc/net", or "/proc/<pid>/net" for the network namespace of a process), because to ask the program itself would
// mean to send it a datagram that it does not expect.
func Bound(dir string, addr netip.AddrPort) (bool, error) {
	for _, list := range []string{"udp", "udp6"} {
		found, err := boundIn(filepath.Join(dir, list), addr)
		if found || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return found, err
		}
		if err != nil && list == "udp" {
			return false, err // there is always one; IPv6 may be switched off
		}
	}
	return false, nil
}

func boundIn(list string, addr netip.AddrPort) (bool, error) {
	f, err := os.Open(list)
	if err != nil {
		return false, fmt.Errorf("list the sockets of UDP: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); ; {
		if !lines.Scan() {
			return false, lines.Err()
		}
		// "  sl  local_address rem_address st …": only a socket that is not connected takes what any sender sends.
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || fields[3] != unconnected {
			continue
		}
		if local, ok := parseLocal(fields[1]); ok && receives(local, addr) {
			return true, nil
		}
	}
}

// unconnected is the state of such a socket: TCP_CLOSE of the kernel's net/tcp_states.h.
const unconnected = "07"

// parseLocal reads "0100007F:14E9": 32-bit words in the byte order of the machine, then the port.
func parseLocal(text string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	number, perr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || perr != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	ip, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(ip, uint16(number)), ok
}

// receives says whether a socket that is bound to local gets what is sent to addr. One of IPv6 that is bound to every address
// takes IPv4 too, unless its program has forbidden that, which the list does not tell.
func receives(local, addr netip.AddrPort) bool {
	if local.Port() != addr.Port() {
		return false
	}
	ip := local.Addr()
	return ip.Unmap() == addr.Addr().Unmap() || ip.IsUnspecified() && (ip.Is6() || addr.Addr().Unmap().Is4())
}
