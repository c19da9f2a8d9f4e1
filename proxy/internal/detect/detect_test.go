package detect

import (
	"net"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/proxy/internal/wire"
)

func TestSniff(t *testing.T) {
	tests := []struct {
		name, first string
		want        Verdict
	}{
		{"nothing", "", More},
		{"preface", preface, HTTP2},
		{"preface and more", preface + "\x00", HTTP2},
		{"half a preface", preface[:10], More},
		{"nearly a preface", "PRI * HTTP/2.0\r\n\r\nXX", TCP},
		{"request line", "GET / HTTP/1.1\r\n", HTTP1},
		{"HTTP/1.0", "HEAD /x?y HTTP/1.0\r\nA: b", HTTP1},
		{"bare LF", "GET / HTTP/1.1\n", HTTP1}, // for the parser to refuse, readably
		{"absolute form", "GET http://a/ HTTP/1.1\r\n", HTTP1},
		{"star", "OPTIONS * HTTP/1.1\r\n", HTTP1},
		{"CONNECT", "CONNECT a:1 HTTP/1.1\r\n", HTTP1},
		{"unusual method", "M-SEARCH * HTTP/1.1\r\n", HTTP1},
		{"half a method", "PO", More},
		{"half a line", "GET /" + strings.Repeat("a", 1000), More},
		{"endless line", "GET /" + strings.Repeat("a", maxLine), TCP},
		{"Redis array", "*1\r\n$4\r\nPING\r\n", TCP},
		{"Redis inline", "GET /key\r\n", TCP},
		{"SMTP", "EHLO a\r\n", TCP},
		{"TLS", "\x16\x03\x01\x02\x00", TCP},
		{"PostgreSQL", "\x00\x00\x00\x08\x04\xd2\x16\x2f", TCP},
		{"empty line", "\r\n", TCP},
		{"long word", strings.Repeat("A", 30), TCP},
		{"HTTP/2 version in a line", "GET / HTTP/2.0\r\n", TCP},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Sniff([]byte(tt.first)); got != tt.want {
				t.Errorf("want %v, got %v", tt.want, got)
			}
		})
	}
}

func TestDecisionNeverFlips(t *testing.T) {
	var p Port
	if p.Decide(HTTP2) != HTTP1 || p.Decide(TCP) != HTTP1 || p.Decided() != HTTP1 {
		t.Errorf("decided %v", p.Decided())
	}
	if p.Guesses(TCP) != 1 || p.Guesses(HTTP2) != 1 {
		t.Error("guesses are not counted")
	}
}

// FuzzSniff checks that a verdict does not depend on how the bytes arrive: once given, more bytes do not change it.
func FuzzSniff(f *testing.F) {
	for _, seed := range []string{preface, "GET / HTTP/1.1\r\n", "*1\r\n", "POST /a b\r\n", "PRI * HTTP/1.1\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, first []byte) {
		held := More
		for n := range len(first) + 1 {
			v := Sniff(first[:n])
			if held != More && v != held {
				t.Fatalf("%q: %v, then %v after %d bytes", first, held, v, n)
			}
			held = v
		}
	})
}

// ends are the two ends of a race, with what stands on their other sides.
func ends(t *testing.T) (client, up *wire.Conn, program, server net.Conn) {
	t.Helper()
	pair := func() (net.Conn, net.Conn) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		a, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		b, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close(); b.Close() })
		return a, b
	}
	program, c := pair()
	u, server := pair()
	return wire.New(c, nil), wire.New(u, nil), program, server
}

func TestRace(t *testing.T) {
	frame := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	tests := []struct {
		name           string
		client, server string
		hangUp         bool
		want           Verdict
	}{
		{name: "client of HTTP", client: "GET / HTTP/1.1\r\n", want: HTTP1},
		{name: "client of HTTP/2", client: preface, want: HTTP2},
		{name: "client of something else", client: "PING\r\n", want: TCP},
		{name: "server first", server: "220 ready\r\n", want: TCP},
		{name: "both sides of HTTP/2", client: preface, server: frame, want: HTTP2},
		{name: "server that says SETTINGS to a silent client", server: frame, want: TCP},
		{name: "server that hangs up on a client of HTTP", client: "GET / HTTP/1.1\r\n", hangUp: true, want: HTTP1},
		{name: "server that hangs up on a silent client", hangUp: true, want: More},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, up, program, server := ends(t)
			server.Write([]byte(tt.server))
			program.Write([]byte(tt.client))
			if tt.hangUp {
				server.Close()
			}
			var port Port
			if got := Race(&port, client, up); got != tt.want {
				t.Errorf("want %v, got %v", tt.want, got)
			}
			if string(client.Buffered()) != tt.client {
				t.Errorf("of the client %q is buffered", client.Buffered())
			}
		})
	}
}
