package netspace_test

import (
	"context"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/netspace"
)

func TestOwnNamespace(t *testing.T) {
	s := netspace.Own()
	if s.Separate() {
		t.Error("the own namespace is not a separate one")
	}
	var controlled bool
	ln, err := s.Listen(t.Context(), "127.0.0.1:0", func(string, string, syscall.RawConn) error { controlled = true; return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		if conn, err := ln.Accept(); err == nil {
			_, _ = io.WriteString(conn, "hello")
			conn.Close()
		}
	}()
	conn, err := s.Dial(t.Context(), &net.Dialer{Timeout: 10 * time.Second}, "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); string(got) != "hello" || err != nil || !controlled {
		t.Errorf("got %q, %v; control called: %v", got, err, controlled)
	}
	pc, err := s.ListenPacket(context.Background(), "udp", "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	pc.Close()
}

func TestInheritedNeedsAFile(t *testing.T) {
	if _, err := netspace.Inherited(987); err == nil || !strings.Contains(err.Error(), "987") {
		t.Errorf("got %v", err)
	}
}

// Whoever passes on the wrong file descriptor is told so when the first socket is opened.
func TestWhatIsNoNamespaceIsRefused(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(f.Fd()))
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	s, err := netspace.Inherited(uintptr(fd))
	if err != nil {
		t.Fatal(err)
	}
	if !s.Separate() {
		t.Error("inherited, but not separate")
	}
	if _, err := s.Listen(t.Context(), "127.0.0.1:0", nil); err == nil || !strings.Contains(err.Error(), "enter the program's network namespace") {
		t.Errorf("got %v", err)
	}
}
