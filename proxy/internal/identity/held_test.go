package identity

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// gathering is a socket that sends, once it is told to gather, nothing until it is flushed, and then parts of it.
type gathering struct {
	net.Conn
	mu     sync.Mutex
	gather bool
	kept   []byte
}

func (g *gathering) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.gather {
		return g.Conn.Write(p)
	}
	g.kept = append(g.kept, p...)
	return len(p), nil
}

// TestHeldBytesAreFound: what TLS has read from the socket beyond what its reader has taken can be seen nowhere else.
func TestHeldBytesAreFound(t *testing.T) {
	for _, tt := range []struct {
		name    string
		records []string
		part    int // bytes of the last record that come
		room    int // of the read
		held    bool
	}{
		{name: "one record", records: []string{"response"}, part: -1, room: 100},
		{name: "a record that fills the room exactly", records: []string{"response"}, part: -1, room: 8},
		{name: "a record that is longer than the room", records: []string{"response+"}, part: -1, room: 8, held: true},
		{name: "two records at once", records: []string{"response", "evil"}, part: -1, room: 100, held: true},
		{name: "a record and the header of another", records: []string{"response", "evil"}, part: 3, room: 100, held: true},
		{name: "a record and a part of another", records: []string{"response", "evil"}, part: 9, room: 100, held: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ca := testca.New(t, "weft.local")
			account := spiffe.Account{Namespace: "default", Name: "web"}
			server, dialer := NewServer(ca.Source(t, account)), NewDialer(ca.Source(t, account), &table.Holder{}, 0)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			over := make(chan struct{})
			served := make(chan error, 1)
			go func() { served <- serveRecords(ln, server, tt.records, tt.part, over) }()
			raw, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			c, err := dialer.handshake(t.Context(), raw, &table.Endpoint{Key: "x", Service: "default/web", TargetPort: 80, ID: ca.ID(t, account)}, ALPNHTTP1)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Write([]byte("request")); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, tt.room)
			if n, err := c.Read(buf); err != nil || string(buf[:n]) != "response" {
				t.Fatalf("got %q, %v", buf[:n], err)
			}
			if c.Held() != tt.held {
				t.Errorf("held is %v", c.Held())
			}
			close(over)
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

// serveRecords answers one request with several records in one write.
func serveRecords(ln net.Listener, server *Server, records []string, part int, over <-chan struct{}) error {
	raw, err := ln.Accept()
	if err != nil {
		return err
	}
	g := &gathering{Conn: raw}
	accepted, err := server.Accept(context.Background(), g)
	if err != nil {
		return err
	}
	c := accepted.Conn
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, len("request"))); err != nil {
		return err
	}
	g.mu.Lock()
	g.gather = true
	g.mu.Unlock()
	last := 0
	for _, record := range records {
		last = len(g.kept)
		if _, err := io.WriteString(c, record); err != nil {
			return err
		}
	}
	if part >= 0 {
		g.kept = g.kept[:last+part]
	}
	if _, err := raw.Write(g.kept); err != nil {
		return err
	}
	<-over
	return nil
}
