package dnspass_test

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/proxy/internal/dnspass"
	"github.com/weft-mesh/weft/proxy/internal/netspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLoopbackResolvers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	text := "# nameserver 127.0.0.9\nsearch a b\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver ::1\nnameserver\nnameserver x\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := dnspass.Loopback(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range got {
		names = append(names, a.String())
	}
	if diff := cmp.Diff([]string{"127.0.0.53:53", "[::1]:53"}, names); diff != "" {
		t.Error(diff)
	}
}

// resolver answers each datagram, and each connection's bytes, with themselves behind its name.
func resolver(t *testing.T) netip.AddrPort {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp", packets.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		b := make([]byte, 1024)
		for {
			n, from, err := packets.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo(append([]byte("udp "), b[:n]...), from)
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			conn, err := streams.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1024)
			n, _ := conn.Read(b)
			_, _ = conn.Write(append([]byte("tcp "), b[:n]...))
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		packets.Close()
		streams.Close()
		<-done
		<-done
	})
	return netip.MustParseAddrPort(packets.LocalAddr().String())
}

func TestD2_QuestionsReachTheHostsResolver(t *testing.T) {
	to := resolver(t)
	packets, streams, err := dnspass.Listen(t.Context(), netspace.Own(), netip.MustParseAddrPort("127.0.0.1:0"))
	for range 20 { // the number that is free for UDP may be taken for TCP
		if err == nil {
			break
		}
		packets, streams, err = dnspass.Listen(t.Context(), netspace.Own(), netip.MustParseAddrPort("127.0.0.1:0"))
	}
	if err != nil {
		t.Fatal(err)
	}
	p := dnspass.New(to, packets, streams, zap.NewNop())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()

	for _, network := range []string{"udp", "tcp"} {
		conn, err := net.Dial(network, p.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "who is web?"); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1024)
		n, err := conn.Read(b)
		conn.Close()
		if want := network + " who is web?"; err != nil || string(b[:n]) != want {
			t.Errorf("want %q, got %q, %v", want, b[:n], err)
		}
	}
	// Another process takes the questions from now on, which wait in the sockets.
	p.Silence()
	if conn, err := net.Dial("tcp", p.Addr().String()); err == nil {
		conn.Close()
		t.Error("a connection was taken after Silence")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
