package lab

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorder keeps what is written through it.
type recorder struct {
	net.Conn
	sent bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.sent.Write(b)
	return r.Conn.Write(b)
}

// conversation is what two sides of a TLS connection of some version send, when each says a word.
func conversation(t *testing.T, version uint16) (client, server []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	one, two := net.Pipe()
	a, b := &recorder{Conn: one}, &recorder{Conn: two}
	var wg sync.WaitGroup
	wg.Go(func() {
		s := tls.Server(b, &tls.Config{MinVersion: version, MaxVersion: version, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
		if _, err := io.ReadFull(s, make([]byte, 5)); err != nil {
			t.Error(err)
		}
		if _, err := s.Write([]byte("world")); err != nil {
			t.Error(err)
		}
	})
	c := tls.Client(a, &tls.Config{MinVersion: version, MaxVersion: version, InsecureSkipVerify: true})
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	return a.sent.Bytes(), b.sent.Bytes()
}

func TestCheckTLS13(t *testing.T) {
	client, server := conversation(t, tls.VersionTLS13)
	oldClient, oldServer := conversation(t, tls.VersionTLS12)
	then := func(a []byte, b string) []byte { return append(bytes.Clone(a), b...) }
	for name, tc := range map[string]struct {
		data []byte
		says string // empty: fine
	}{
		"nothing":                    {nil, ""},
		"client":                     {client, ""},
		"server":                     {server, ""},
		"cut in a record":            {server[:len(server)-3], ""},
		"server of TLS 1.2":          {oldServer, "not 1.3"},
		"client of TLS 1.2":          {oldClient, "in the clear after the hello"},
		"plaintext":                  {[]byte("GET / HTTP/1.1\r\nhost: a\r\n\r\n"), "no TLS record"},
		"plaintext after the hellos": {then(client, "and now in the clear"), "no TLS record"},
		"handshake in the clear":     {then(client, "\x16\x03\x03\x00\x02\x0b\x00"), "in the clear after the hello"},
		"alert instead of a hello":   {[]byte("\x15\x03\x03\x00\x02\x02\x28"), "a hello is due"},
		"a hello that is too short":  {[]byte("\x16\x03\x03\x00\x02\x02\x00"), "version 0x0"},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckTLS13(Stream{Data: tc.data, Begun: true})
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want one with %q", err, tc.says)
			}
		})
	}
	if err := CheckTLS13(Stream{Data: client}); err == nil {
		t.Error("a stream without its beginning is taken for whole")
	}
	if err := CheckTLS13(Stream{Data: client, Begun: true, Gap: true}); err == nil {
		t.Error("a stream with a gap is taken for whole")
	}
}
