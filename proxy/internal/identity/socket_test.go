package identity

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/internal/testca"
	"github.com/weft-mesh/weft/proxy/internal/table"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// ends are a mesh connection's two; between carries bytes from one socket to the other, nil: they are joined.
func ends(t *testing.T, between func(dst io.Writer, src io.Reader)) (client, server *Conn) {
	t.Helper()
	ca := testca.New(t, "weft.local")
	account := spiffe.Account{Namespace: "default", Name: "web"}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	accept := func() net.Conn {
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	a := dial()
	b := accept()
	if between != nil {
		far := dial()
		near := b
		b = accept()
		go between(far, near)
		go between(near, far)
	}
	accepted := make(chan *Accepted, 1)
	go func() {
		c, err := NewServer(ca.Source(t, account)).Accept(context.Background(), b)
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	dialer := NewDialer(ca.Source(t, account), &table.Holder{}, 0)
	client, err = dialer.handshake(t.Context(), a, &table.Endpoint{Key: "x", Service: "default/web", TargetPort: 80, ID: ca.ID(t, account)}, ALPNTCP)
	if err != nil {
		t.Fatal(err)
	}
	got := <-accepted
	if got == nil {
		t.FailNow()
	}
	return client, got.Conn
}

// dribble passes bytes on in pieces of any size, down to one byte.
func dribble(dst io.Writer, src io.Reader) {
	random := rand.New(rand.NewPCG(7, 11))
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf[:1+random.IntN(1<<random.IntN(16))])
		if _, werr := dst.Write(buf[:n]); werr != nil || err != nil {
			return
		}
	}
}

// TestExchangesThroughTheWire: questions and answers of all sizes arrive as they were sent, however the network cuts them, read
// with and without More.
func TestExchangesThroughTheWire(t *testing.T) {
	for name, between := range map[string]func(io.Writer, io.Reader){"joined": nil, "dribbled": dribble} {
		t.Run(name, func(t *testing.T) {
			client, server := ends(t, between)
			sizes := []int{1, 5, wire.Small, wire.Small + 1, record, record + 1, wire.Large, 3 * wire.Large, 1}
			go func() {
				for _, size := range sizes {
					b := make([]byte, size)
					if _, err := io.ReadFull(server, b); err != nil {
						t.Error(err)
						return
					}
					server.Write(b)
				}
			}()
			c := wire.New(client, nil)
			for i, size := range sizes {
				question := make([]byte, size)
				for j := range question {
					question[j] = byte(j * (i + 3))
				}
				if n, err := c.Turn(question); n != size || err != nil {
					t.Fatalf("%d bytes: sent %d, %v", size, n, err)
				}
				var answer []byte
				for {
					for i%2 == 0 && c.More() {
					}
					answer = append(answer, c.Buffered()...)
					c.Discard(len(c.Buffered()))
					if len(answer) == size {
						break
					}
					if err := c.Fill(); err != nil {
						t.Fatalf("%d bytes: after %d: %v", size, len(answer), err)
					}
				}
				if !bytes.Equal(answer, question) {
					t.Fatalf("%d bytes came back otherwise", size)
				}
				if client.Held() {
					t.Errorf("%d bytes: something is left", size)
				}
			}
		})
	}
}

// TestReadMoreDoesNotWait: session tickets, which are no content, are whole records too.
func TestReadMoreDoesNotWait(t *testing.T) {
	client, server := ends(t, nil)
	if err := client.Await(); err != nil { // for the tickets, which follow the handshake
		t.Fatal(err)
	}
	if n := client.ReadMore(make([]byte, 10)); n != 0 {
		t.Errorf("read %d bytes that nobody sent", n)
	}
	if _, err := server.Write([]byte("content")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if n, err := client.Read(b); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	if n := client.ReadMore(b); string(b[:n]) != "ent" {
		t.Errorf("got %q", b[:n])
	}
	if n := client.ReadMore(b); n != 0 {
		t.Errorf("read %d bytes more than were sent", n)
	}
	server.CloseWrite()
	if err := client.Await(); err != nil {
		t.Fatal(err)
	}
	if n := client.ReadMore(b); n != 0 {
		t.Errorf("read %d bytes at the end", n)
	}
	if err := client.Await(); err != nil || !client.Held() { // the end has been read, and must not be waited for again
		t.Fatal(err)
	}
	if n, err := client.Read(b); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("want the end, got %d, %v", n, err)
	}
}
