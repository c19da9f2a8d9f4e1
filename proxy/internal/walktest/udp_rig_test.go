package walktest

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/datagram"
	"github.com/weft-mesh/weft/proxy/internal/outbound"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// patience bounds waits of tests; it is no assertion about speed.
const patience = 20 * time.Second

// udpProgram answers each datagram by what answer makes of it; nil: not at all.
func udpProgram(t testing.TB, answer func(b []byte, from netip.AddrPort) []byte) net.Addr {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if out := answer(buf[:n], from); out != nil {
				conn.WriteToUDPAddrPort(out, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn.LocalAddr()
}

// named answers with its name before what it got.
func named(name string) func([]byte, netip.AddrPort) []byte {
	return func(b []byte, _ netip.AddrPort) []byte { return append([]byte(name+" "), b...) }
}

// Packets starts a socket for "default/service" port 80 and returns its address.
func (c *Client) packets(service string) netip.AddrPort {
	c.tb.Helper()
	return c.listen(outbound.Fixed(outbound.Upstream{Service: "default/" + service, Port: 80}))
}

func (c *Client) listen(resolve outbound.Resolve) netip.AddrPort {
	c.tb.Helper()
	p := socket(c.tb)
	Run(c.tb, func(ctx context.Context) error { return c.Outbound.ServePackets(ctx, p, resolve) })
	return p.Addr()
}

// socket opens a socket on loopback.
func socket(tb testing.TB) *datagram.Socket {
	tb.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s, err := datagram.On(conn)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// plaintextPackets starts the workload's socket for callers without a sidecar.
func (w *Workload) plaintextPackets(t *testing.T) netip.AddrPort {
	t.Helper()
	p := socket(t)
	Run(t, func(ctx context.Context) error { return w.Inbound.ServePlaintextPackets(ctx, p, w.Endpoint.TargetPort) })
	return p.Addr()
}

// udpClient is a program's socket.
type udpClient struct {
	t    testing.TB
	conn *net.UDPConn
	buf  []byte
}

func udpDial(t testing.TB, to netip.AddrPort) *udpClient {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &udpClient{t: t, conn: conn, buf: make([]byte, 64<<10)}
}

func (c *udpClient) send(b string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(b)); err != nil {
		c.t.Fatal(err)
	}
}

// receive waits for a datagram.
func (c *udpClient) receive() string {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	n, err := c.conn.Read(c.buf)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(c.buf[:n])
}

func (c *udpClient) ask(b string) string {
	c.t.Helper()
	c.send(b)
	return c.receive()
}

// insist asks again and again until ok likes the answer: what a client of UDP does.
func (c *udpClient) insist(b string, ok func(answer string) bool) string {
	c.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		c.send(b)
		c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := c.conn.Read(c.buf); err == nil && ok(string(c.buf[:n])) {
			return string(c.buf[:n])
		}
	}
	c.t.Fatalf("no answer to %q that will do", b)
	return ""
}

// tap is a wire between two sidecars that keeps what goes over it.
type tap struct {
	mu    sync.Mutex
	bytes [2]bytes.Buffer // to the server, to the client
}

// tapped puts a tap before the endpoint's mesh port.
func tapped(t *testing.T, ep *table.Endpoint, mesh string) (*table.Endpoint, *tap) {
	t.Helper()
	w := &tap{}
	addr := program(t, func(c net.Conn) {
		up, err := net.Dial("tcp", mesh)
		if err != nil {
			return
		}
		defer up.Close()
		var both sync.WaitGroup
		both.Go(func() { w.copy(0, up, c) })
		both.Go(func() { w.copy(1, c, up) })
		both.Wait()
	})
	next := *ep
	next.MeshPort = netip.MustParseAddrPort(addr.String()).Port()
	return &next, w
}

func (w *tap) copy(i int, dst, src net.Conn) {
	defer dst.(*net.TCPConn).CloseWrite()
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		w.mu.Lock()
		w.bytes[i].Write(buf[:n])
		w.mu.Unlock()
		if err != nil {
			return
		}
		dst.Write(buf[:n])
	}
}

func (w *tap) seen(i int) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.bytes[i].Bytes())
}
