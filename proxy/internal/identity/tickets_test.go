package identity

import (
	"context"
	"net"
	"testing"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// TestTicketsOutliveTheProcess: a client resumes with the server of the next process, if that has the same identity and got
// the key; with another identity, or without the key, there is a full handshake and no failure.
func TestTicketsOutliveTheProcess(t *testing.T) {
	ca := testca.New(t, "weft.local")
	account := spiffe.Account{Namespace: "default", Name: "web"}
	source, renewed := ca.Source(t, account), ca.Source(t, account)
	first := NewServer(source)
	dialer := NewDialer(ca.Source(t, account), &table.Holder{}, 0)
	ep := &table.Endpoint{Key: "x", Service: "default/web", TargetPort: 80, ID: ca.ID(t, account)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	// connect makes one connection and says whether it was resumed.
	connect := func(server *Server) bool {
		t.Helper()
		done := make(chan struct{})
		go func() {
			defer close(done)
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			c, err := server.Accept(context.Background(), raw)
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = c.Write([]byte("x")) // so that the client reads, and with it the ticket
			c.Close()
		}()
		raw, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c, err := dialer.handshake(t.Context(), raw, ep, ALPNTCP)
		if err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		if _, err := c.Read(b[:]); err != nil {
			t.Fatal(err)
		}
		c.Close()
		<-done
		return c.Resumed
	}
	heir := func(of *spiffe.Source, key []byte) *Server {
		s := NewServer(of)
		s.Inherit(key)
		return s
	}
	if connect(first) {
		t.Error("the first connection was resumed")
	}
	if !connect(first) {
		t.Error("the second connection was not resumed")
	}
	key := first.TicketKey()
	if !connect(heir(source, key)) {
		t.Error("the next process did not take a ticket of this one")
	}
	if connect(heir(renewed, key)) {
		t.Error("another identity took the ticket")
	}
	if connect(heir(source, key[:40])) {
		t.Error("half a key was enough")
	}
}
