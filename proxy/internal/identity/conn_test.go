package identity

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// counting counts the writes that reach the socket.
type counting struct {
	net.Conn
	writes atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

func TestLargeWriteIsOneSystemCall(t *testing.T) {
	ca := testca.New(t, "weft.local")
	account := spiffe.Account{Namespace: "default", Name: "web"}
	server, dialer := NewServer(ca.Source(t, account)), NewDialer(ca.Source(t, account), &table.Holder{}, 0)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	size := make(chan int)
	go func() {
		raw, err := ln.Accept()
		if err != nil {
			return
		}
		c, err := server.Accept(context.Background(), raw)
		if err != nil {
			t.Error(err)
			close(size)
			return
		}
		all, _ := io.ReadAll(c)
		c.Close()
		size <- len(all)
	}()
	raw, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	under := &counting{Conn: raw}
	ep := &table.Endpoint{Key: "x", Service: "default/web", TargetPort: 80, ID: ca.ID(t, account)}
	c, err := dialer.handshake(t.Context(), under, ep, ALPNTCP)
	if err != nil {
		t.Fatal(err)
	}
	before := under.writes.Load()
	if _, err := c.Write(make([]byte, wire.Large)); err != nil {
		t.Fatal(err)
	}
	if n := under.writes.Load() - before; n != 1 {
		t.Errorf("%d writes", n)
	}
	// Closing while session tickets are unread would reset the connection, and what is on its way with it.
	c.CloseWrite()
	io.ReadAll(c)
	c.Close()
	if got := <-size; got != wire.Large {
		t.Errorf("%d bytes arrived", got)
	}
}

func TestStrictNeverDialsPlaintext(t *testing.T) {
	ca := testca.New(t, "weft.local")
	tables := &table.Holder{}
	tables.Store(&table.Table{Mesh: table.Mesh{MTLS: table.Strict}})
	d := NewDialer(ca.Source(t, spiffe.Account{Namespace: "default", Name: "web"}), tables, 0)
	_, err := d.Dial(t.Context(), &table.Endpoint{Key: "x", Address: netip.MustParseAddr("127.0.0.1"), TargetPort: 1}, ALPNHTTP1)
	if flow.ReasonOf(err, flow.None) != flow.Plaintext {
		t.Errorf("got %v", err)
	}
}
