package datagram

import (
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// pktinfo reads to which of the host's addresses a datagram was sent, and answers from it: the kernel alone would answer from
// whichever address the way back begins at, and the client would not know the answer for one.
type pktinfo struct {
	conn *net.UDPConn
	oob  [64]byte // of Read: one goroutine

	mu      sync.Mutex
	sources map[netip.Addr][]byte // control messages, made once for each of our addresses
}

// newPktinfo returns nil for a socket that is not of IPv6, which tells IPv4's addresses too.
func newPktinfo(conn *net.UDPConn) *pktinfo {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	refused := err
	if err := raw.Control(func(fd uintptr) { refused = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1) }); err != nil || refused != nil {
		return nil
	}
	return &pktinfo{conn: conn, sources: map[netip.Addr][]byte{}}
}

func (p *pktinfo) read(b []byte, self netip.AddrPort) (n int, from, to netip.AddrPort, err error) {
	n, controls, _, from, err := p.conn.ReadMsgUDPAddrPort(b, p.oob[:])
	to = self
	for rest := p.oob[:controls]; err == nil && len(rest) > 0; {
		header, data, more, broken := unix.ParseOneSocketControlMessage(rest)
		if broken != nil {
			break
		}
		if header.Level == unix.SOL_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= 16 {
			to = netip.AddrPortFrom(netip.AddrFrom16([16]byte(data[:16])), self.Port())
		}
		rest = more
	}
	return n, from, to, err
}

func (p *pktinfo) reply(b []byte, from, to netip.AddrPort) error {
	_, _, err := p.conn.WriteMsgUDPAddrPort(b, p.source(from.Addr()), to)
	return err
}

func (p *pktinfo) source(addr netip.Addr) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	control := p.sources[addr]
	if control == nil {
		control = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: addr.As16()})
		p.sources[addr] = control
	}
	return control
}
