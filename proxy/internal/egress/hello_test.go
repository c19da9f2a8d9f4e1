package egress

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
)

// hello is what a real client says first.
func hello(t testing.TB, name string) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		client := tls.Client(there, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		_ = client.Handshake() // ends when the other end closes
		there.Close()
	}()
	header := make([]byte, 5)
	if _, err := io.ReadFull(here, header); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(header[3])<<8|int(header[4]))
	if _, err := io.ReadFull(here, body); err != nil {
		t.Fatal(err)
	}
	return append(header, body...)
}

func TestServerName(t *testing.T) {
	whole := hello(t, "pay.example")
	for n := 1; n < len(whole); n++ {
		if name, done := ServerName(whole[:n]); name != "" || done {
			t.Fatalf("after %d of %d bytes: %q, %v", n, len(whole), name, done)
		}
	}
	if name, done := ServerName(append(whole, "more"...)); name != "pay.example" || !done {
		t.Errorf("got %q, %v", name, done)
	}
	for what, first := range map[string][]byte{
		"no name":      hello(t, ""),
		"not TLS":      []byte("GET / HTTP/1.1\r\n"),
		"broken hello": append([]byte{0x16, 3, 1, 0, 8, 1, 0, 0, 4}, 1, 2, 3, 4),
		"endless":      append([]byte{0x16, 3, 1, 0xff, 0xff}, bytes.Repeat([]byte{1}, maxHello)...),
	} {
		if name, done := ServerName(first); name != "" || !done {
			t.Errorf("%s: %q, %v", what, name, done)
		}
	}
}

// FuzzServerName feeds arbitrary first bytes: never a panic, and a name that was found stays, whatever follows.
func FuzzServerName(f *testing.F) {
	f.Add(hello(f, "pay.example"))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Add([]byte{0x16, 3, 1, 0, 4, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, first []byte) {
		name, done := ServerName(first)
		if name != "" && !done {
			t.Fatalf("a name before the end: %q", name)
		}
		if strings.ContainsAny(name, "\x00\r\n") && Name(name) == name && Host(policy(true), name, 443).Allowed {
			t.Fatalf("%q is allowed", name)
		}
		if again, _ := ServerName(append(first, 0)); len(first) < maxHello && name != "" && again != name {
			t.Fatalf("%q became %q", name, again)
		}
	})
}
