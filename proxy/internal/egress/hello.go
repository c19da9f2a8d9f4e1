package egress

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// maxHello is how many bytes a ClientHello may take with its records.
const maxHello = 64 << 10

// ServerName reads the server name out of the first bytes of a TLS client. done is false while more bytes are needed; a name
// that stays empty then is none: the client is not one of TLS, or does not say.
func ServerName(first []byte) (name string, done bool) {
	if len(first) > 0 && first[0] != 0x16 || len(first) > maxHello {
		return "", true
	}
	in := &input{Reader: bytes.NewReader(first)}
	seen := errors.New("seen")
	err := tls.Server(in, &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		name = hello.ServerName
		return nil, seen
	}}).Handshake()
	return name, errors.Is(err, seen) || !in.ended
}

// input is a connection of which only the client's first bytes are there; what is written to it goes nowhere.
type input struct {
	*bytes.Reader
	ended bool // somebody wanted more
}

func (c *input) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.ended = c.ended || errors.Is(err, io.EOF)
	return n, err
}

func (c *input) Write(p []byte) (int, error)      { return len(p), nil }
func (c *input) Close() error                     { return nil }
func (c *input) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *input) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *input) SetDeadline(time.Time) error      { return nil }
func (c *input) SetReadDeadline(time.Time) error  { return nil }
func (c *input) SetWriteDeadline(time.Time) error { return nil }
