//go:build !linux

package datagram

import (
	"net"
	"net/netip"
)

// pktinfo is only had on Linux; elsewhere the kernel chooses the address of an answer.
type pktinfo struct{}

func newPktinfo(*net.UDPConn) *pktinfo { return nil }

func (p *pktinfo) read([]byte, netip.AddrPort) (int, netip.AddrPort, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, netip.AddrPort{}, net.ErrClosed
}

func (p *pktinfo) reply([]byte, netip.AddrPort, netip.AddrPort) error { return net.ErrClosed }
