package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/proxy/internal/netspace"
)

// maxVoices bounds the sockets that speak with somebody else's address.
const maxVoices = 256

// Packets is the sidecar's end of captured UDP: it hears datagrams that were meant for others, and answers in their names. One
// goroutine may read while others reply.
type Packets struct {
	space *netspace.Space
	ear   *net.UDPConn
	oob   []byte // of the reader

	mu     sync.Mutex
	closed bool
	voices map[netip.AddrPort]*voice
	turn   uint64
}

// voice is a socket that is bound to an address of somebody else.
type voice struct {
	conn *net.UDPConn
	used uint64
}

// ListenPackets opens the socket for NewPackets, in a namespace where Install was called with this outbound port.
func ListenPackets(ctx context.Context, space *netspace.Space, port uint16) (net.PacketConn, error) {
	address := fmt.Sprintf("[::]:%d", port) // IPv4 too
	if len(families()) == 1 {
		address = fmt.Sprintf("0.0.0.0:%d", port)
	}
	ear, err := listenTransparent(ctx, space, address)
	if err != nil {
		return nil, fmt.Errorf("listen for captured datagrams: %w", err)
	}
	return ear, nil
}

// NewPackets makes Packets of a socket of ListenPackets, which it owns from now on.
func NewPackets(space *netspace.Space, socket net.PacketConn) (*Packets, error) {
	ear, ok := socket.(*net.UDPConn)
	if !ok {
		return nil, fmt.Errorf("captured datagrams: %T is not a socket of UDP", socket)
	}
	return &Packets{space: space, ear: ear, oob: make([]byte, 256), voices: map[netip.AddrPort]*voice{}}, nil
}

// Silence makes Read fail with os.ErrDeadlineExceeded from now on, because another process reads what comes. Reply still works.
func (p *Packets) Silence() { _ = p.ear.SetReadDeadline(time.Unix(1, 0)) } // a closed socket reads nothing either

func listenTransparent(ctx context.Context, space *netspace.Space, address string) (*net.UDPConn, error) {
	pc, err := space.ListenPacket(ctx, "udp", address, transparent)
	if err != nil {
		return nil, err
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		_ = pc.Close()
		return nil, fmt.Errorf("%s is a %T, not a socket of UDP", address, pc)
	}
	return conn, nil
}

// transparent makes a socket that may have addresses of others, hears where datagrams were meant to go, and is not captured.
func transparent(network, _ string, c syscall.RawConn) error {
	var errs []error
	set := func(fd uintptr, level, option int, value int) {
		if err := unix.SetsockoptInt(int(fd), level, option, value); err != nil {
			errs = append(errs, fmt.Errorf("socket option %d of level %d: %w", option, level, err))
		}
	}
	err := c.Control(func(fd uintptr) {
		set(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		set(fd, unix.SOL_SOCKET, unix.SO_MARK, Mark)
		set(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
		set(fd, unix.SOL_IP, unix.IP_RECVORIGDSTADDR, 1)
		if network == "udp6" {
			set(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
			set(fd, unix.SOL_IPV6, unix.IPV6_RECVORIGDSTADDR, 1)
		}
	})
	return errors.Join(append(errs, err)...)
}

// destinationOf reads IP_ORIGDSTADDR or IPV6_ORIGDSTADDR.
func destinationOf(oob []byte) (netip.AddrPort, bool) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for i := range msgs {
		sa, err := unix.ParseOrigDstAddr(&msgs[i])
		if err != nil {
			continue
		}
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), true
		case *unix.SockaddrInet6:
			return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port)), true
		}
	}
	return netip.AddrPort{}, false
}

// Read waits for the next datagram and returns its sender and where it was meant to go. What does not fit into b is cut off.
func (p *Packets) Read(b []byte) (n int, from, to netip.AddrPort, err error) {
	for {
		n, on, _, from, err := p.ear.ReadMsgUDPAddrPort(b, p.oob)
		if err != nil {
			return 0, netip.AddrPort{}, netip.AddrPort{}, err
		}
		// Without a destination it was sent to the port itself: nobody can be meant.
		if to, ok := destinationOf(p.oob[:on]); ok {
			return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), to, nil
		}
	}
}

// Reply sends a datagram to an address as if it came from another.
func (p *Packets) Reply(b []byte, from, to netip.AddrPort) error {
	v, err := p.voice(from)
	if err != nil {
		return fmt.Errorf("answer in the name of %s: %w", from, err)
	}
	if _, err := v.WriteToUDPAddrPort(b, to); err != nil {
		return fmt.Errorf("answer %s in the name of %s: %w", to, from, err)
	}
	return nil
}

// voice finds or makes the socket that is bound to an address. The one that was silent for longest makes room for a new one.
func (p *Packets) voice(from netip.AddrPort) (*net.UDPConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn++
	if v := p.voices[from]; v != nil {
		v.used = p.turn
		return v.conn, nil
	}
	if p.closed {
		return nil, net.ErrClosed
	}
	conn, err := listenTransparent(context.Background(), p.space, from.String())
	if err != nil {
		return nil, err
	}
	if len(p.voices) >= maxVoices {
		p.silence()
	}
	p.voices[from] = &voice{conn: conn, used: p.turn}
	return conn, nil
}

func (p *Packets) silence() {
	var oldest netip.AddrPort
	least := p.turn
	for from, v := range p.voices {
		if v.used < least {
			oldest, least = from, v.used
		}
	}
	if v := p.voices[oldest]; v != nil {
		_ = v.conn.Close()
		delete(p.voices, oldest)
	}
}

// Close ends Read and gives the sockets back. Doing so twice is no error.
func (p *Packets) Close() error {
	err := p.ear.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for from, v := range p.voices {
		_ = v.conn.Close()
		delete(p.voices, from)
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
