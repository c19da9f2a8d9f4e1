package dnspass

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/internal/lifecycle"
	"github.com/weft-mesh/weft/proxy/internal/netspace"
)

const (
	// maxQuestions are on their way at once; more are dropped, and asked again by whoever asked.
	maxQuestions = 256
	// answerWithin is how long a resolver may take, for one question or between two on a connection.
	answerWithin = 10 * time.Second
	// maxMessage is the largest datagram of DNS that anybody sends (RFC 6891 recommends 4,096 at most).
	maxMessage = 64 << 10
)

// Loopback lists the resolvers on loopback addresses that a file like /etc/resolv.conf names.
func Loopback(path string) ([]netip.AddrPort, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("resolvers of the host: %w", err)
	}
	var out []netip.AddrPort
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil && addr.IsLoopback() {
			out = append(out, netip.AddrPortFrom(addr, 53))
		}
	}
	return out, nil
}

// Pass serves one resolver's address in a namespace. Make one with New.
type Pass struct {
	to      netip.AddrPort
	log     *zap.Logger
	packets net.PacketConn
	streams net.Listener
	room    chan struct{}
}

// Listen opens an address of a resolver in the program's namespace, for New.
func Listen(ctx context.Context, space *netspace.Space, at netip.AddrPort) (net.PacketConn, net.Listener, error) {
	packets, err := space.ListenPacket(ctx, "udp", at.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	// Its own port when that of the datagrams was left open, so that both are one address.
	port, _ := netip.ParseAddrPort(packets.LocalAddr().String())
	streams, err := space.Listen(ctx, netip.AddrPortFrom(at.Addr(), port.Port()).String(), nil)
	if err != nil {
		return nil, nil, errors.Join(err, packets.Close())
	}
	return packets, streams, nil
}

// New makes a pass of open sockets, which it owns from now on; to is where they lead in the sidecar's own namespace.
func New(to netip.AddrPort, packets net.PacketConn, streams net.Listener, log *zap.Logger) *Pass {
	return &Pass{to: to, log: log, packets: packets, streams: streams, room: make(chan struct{}, maxQuestions)}
}

// Silence takes no more questions, because another process does; those that it has are answered.
func (p *Pass) Silence() {
	_ = p.packets.SetReadDeadline(time.Unix(1, 0)) // closed sockets take none either
	_ = p.streams.Close()
}

// Addr is what is served.
func (p *Pass) Addr() net.Addr { return p.packets.LocalAddr() }

// Run passes questions on until ctx ends.
func (p *Pass) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { _ = p.Close() })()
	var g lifecycle.Group
	g.Add("datagrams", lasting(p.datagrams))
	g.Add("connections", lasting(p.connections))
	return g.Run(ctx)
}

// lasting keeps one part from stopping the other.
func lasting(run lifecycle.Run) lifecycle.Run {
	return func(ctx context.Context) error {
		err := run(ctx)
		<-ctx.Done()
		return err
	}
}

// Close gives the sockets back, of a Pass that does not run.
func (p *Pass) Close() error { return errors.Join(p.packets.Close(), p.streams.Close()) }

func (p *Pass) datagrams(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	b := make([]byte, maxMessage)
	for {
		n, from, err := p.packets.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil // by Run, or Silence
		}
		if err != nil {
			continue // of an earlier answer, to a program that has gone
		}
		select {
		case p.room <- struct{}{}:
		default:
			continue
		}
		question := append([]byte(nil), b[:n]...)
		wg.Go(func() {
			defer func() { <-p.room }()
			if err := p.ask(ctx, question, from); err != nil {
				p.log.Debug("no answer of the host's resolver", zap.Stringer("resolver", p.to), zap.Error(err))
			}
		})
	}
}

// ask passes one question on and its answer back.
func (p *Pass) ask(ctx context.Context, question []byte, from net.Addr) error {
	conn, err := p.dial(ctx, "udp")
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	conn.SetDeadline(time.Now().Add(answerWithin)) // fails only on a closed connection: the next call says so
	if _, err := conn.Write(question); err != nil {
		return err
	}
	answer := make([]byte, maxMessage)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	_, err = p.packets.WriteTo(answer[:n], from)
	return err
}

func (p *Pass) dial(ctx context.Context, network string) (net.Conn, error) {
	d := net.Dialer{Timeout: answerWithin}
	return d.DialContext(ctx, network, p.to.String())
}

func (p *Pass) connections(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := p.streams.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil // by Run, or Silence
		}
		if err != nil {
			continue
		}
		select {
		case p.room <- struct{}{}:
			wg.Go(func() {
				defer func() { <-p.room }()
				p.relay(ctx, conn)
			})
		default:
			conn.Close()
		}
	}
}

// relay passes bytes both ways until one side ends or is silent for too long.
func (p *Pass) relay(ctx context.Context, client net.Conn) {
	defer client.Close()
	resolver, err := p.dial(ctx, "tcp")
	if err != nil {
		p.log.Debug("the host's resolver takes no connection", zap.Stringer("resolver", p.to), zap.Error(err))
		return
	}
	defer resolver.Close()
	end := func() {
		client.Close()
		resolver.Close()
	}
	defer context.AfterFunc(ctx, end)()
	var wg sync.WaitGroup
	copyUntilSilent := func(to, from net.Conn) {
		defer end()
		for b := make([]byte, 4<<10); ; {
			from.SetReadDeadline(time.Now().Add(answerWithin)) // fails only on a closed connection: the next read says so
			n, err := from.Read(b)
			if n > 0 {
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
			}
			if err != nil && !errors.Is(err, io.ErrNoProgress) {
				return
			}
		}
	}
	wg.Go(func() { copyUntilSilent(resolver, client) })
	wg.Go(func() { copyUntilSilent(client, resolver) })
	wg.Wait()
}
