package datagram

import (
	"fmt"
	"net"
	"net/netip"
)

// Packets is where datagrams of clients come from and replies to them go.
type Packets interface {
	// Read waits for the next datagram and tells its sender and its original destination. One goroutine reads. A datagram
	// that does not fit into b may be cut off or left out; 64 KiB hold every datagram.
	Read(b []byte) (n int, from, to netip.AddrPort, err error)
	// Reply sends b to a client as if it came from the original destination. It may be called from many goroutines, and
	// must not wait for long: what a socket does not take now is lost.
	Reply(b []byte, from, to netip.AddrPort) error
	// Close makes Read fail.
	Close() error
}

// Socket is Packets of a socket whose own address is the destination of all that it gets.
type Socket struct {
	conn *net.UDPConn
	self netip.AddrPort
}

var _ Packets = (*Socket)(nil)

// Listen opens a Socket.
func Listen(addr netip.AddrPort) (*Socket, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, fmt.Errorf("listen for datagrams: %w", err)
	}
	self, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("listen for datagrams: %v is not an address of UDP", conn.LocalAddr())
	}
	return &Socket{conn: conn, self: self.AddrPort()}, nil
}

// Addr is where the socket is.
func (s *Socket) Addr() netip.AddrPort { return s.self }

// Read is of Packets.
func (s *Socket) Read(b []byte) (n int, from, to netip.AddrPort, err error) {
	n, from, err = s.conn.ReadFromUDPAddrPort(b)
	return n, from, s.self, err
}

// Reply is of Packets.
func (s *Socket) Reply(b []byte, _, to netip.AddrPort) error {
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	return err
}

// Close is of Packets.
func (s *Socket) Close() error { return s.conn.Close() }
