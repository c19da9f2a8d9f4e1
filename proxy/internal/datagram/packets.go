package datagram

import (
	"fmt"
	"net"
	"net/netip"
	"time"
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

// Socket is Packets of a socket whose own address is the destination of all that it gets. One that is bound to every address
// answers from the one that was asked.
type Socket struct {
	conn *net.UDPConn
	self netip.AddrPort
	info *pktinfo // nil where there is only one address
}

var _ Packets = (*Socket)(nil)

// readBuffer is for the bursts of many clients: what does not fit the kernel drops, and nobody counts it here.
const readBuffer = 4 << 20

// On makes a Socket of an open one of UDP, which it owns from now on.
func On(pc net.PacketConn) (*Socket, error) {
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		_ = pc.Close()
		return nil, fmt.Errorf("listen for datagrams: %v is not a socket of UDP", pc.LocalAddr())
	}
	self, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		_ = pc.Close()
		return nil, fmt.Errorf("listen for datagrams: %w", err)
	}
	_ = conn.SetReadBuffer(readBuffer) // the kernel gives what it allows
	s := &Socket{conn: conn, self: self}
	if self.Addr().IsUnspecified() {
		s.info = newPktinfo(conn)
	}
	return s, nil
}

// Addr is where the socket is.
func (s *Socket) Addr() netip.AddrPort { return s.self }

// Read is of Packets.
func (s *Socket) Read(b []byte) (n int, from, to netip.AddrPort, err error) {
	if s.info != nil {
		return s.info.read(b, s.self)
	}
	n, from, err = s.conn.ReadFromUDPAddrPort(b)
	return n, from, s.self, err
}

// Reply is of Packets.
func (s *Socket) Reply(b []byte, from, to netip.AddrPort) error {
	if s.info != nil {
		return s.info.reply(b, from, to)
	}
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	return err
}

// Silence makes Read fail with os.ErrDeadlineExceeded from now on, because another process reads what comes. Reply still works.
func (s *Socket) Silence() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) } // a closed socket reads nothing either

// Close is of Packets.
func (s *Socket) Close() error { return s.conn.Close() }
