package identity

import (
	"crypto/tls"
	"errors"
	"net"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// record is the most that one TLS record holds.
const record = 16 << 10

// Conn is an established mesh connection. A Write of several records reaches the socket in one system call.
type Conn struct {
	*tls.Conn
	// Peer is the verified identity of the other end.
	Peer spiffeid.ID
	// ALPN is the protocol that was agreed.
	ALPN string
	// Resumed says that no full handshake was needed.
	Resumed bool
	// Generation is that of the material that the connection was made under.
	Generation uint64

	sock  *socket
	taken int  // bytes read of the last record; only the reader's, as is rest
	rest  bool // TLS holds more of that record, unless that was padding
	ended bool // reading has come to an end, which the next Read tells
}

var _ wire.Layer = (*Conn)(nil)

// Read reads at most one record.
func (c *Conn) Read(p []byte) (int, error) {
	if !c.rest {
		c.taken = 0
	}
	n, err := c.Conn.Read(p)
	c.taken += n
	c.rest = n > 0 && n == len(p) && c.taken < c.sock.content
	return n, err
}

// Write seals p. Only what takes more than one record is gathered: a single record is one write anyway.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) <= record {
		return c.Conn.Write(p)
	}
	c.sock.cork()
	n, err := c.Conn.Write(p)
	if ferr := c.sock.flush(); err == nil && ferr != nil {
		return 0, ferr
	}
	return n, err
}

// Await waits for the first bytes of a record.
func (c *Conn) Await() error {
	if c.Held() {
		return nil
	}
	return c.sock.await()
}

// Exchange seals and sends p, and waits for the first bytes of a record. Nobody else may write meanwhile.
func (c *Conn) Exchange(p []byte) (written int, err error) {
	if c.Held() {
		return c.Write(p)
	}
	c.sock.cork()
	if written, err = c.Conn.Write(p); err != nil {
		_ = c.sock.flush() // the first error tells more
		return written, err
	}
	sent, err := c.sock.turn()
	if sent == 0 {
		return 0, err
	}
	return written, err
}

// ReadMore reads what is there of the record that was read last, or the next one if all of it has arrived.
func (c *Conn) ReadMore(p []byte) int {
	if c.ended || !c.rest && !c.sock.whole() {
		return 0
	}
	c.sock.dry = true
	n, err := c.Read(p)
	c.sock.dry = false
	c.ended = err != nil && !errors.Is(err, errDry{})
	return n
}

// Held says whether something has arrived that was not read, be it the end.
func (c *Conn) Held() bool { return c.rest || c.ended || len(c.sock.conn.Buffered()) > 0 }

// Brim says whether the socket may hold more than what the last read took.
func (c *Conn) Brim() bool { return c.sock.conn.Brim() }

// NetConn returns the socket, for looking at it without reading.
func (c *Conn) NetConn() net.Conn { return c.sock.Conn }

// CloseWrite of the raw socket is never wanted under TLS; tls.Conn.CloseWrite sends close_notify instead.
var _ interface{ CloseWrite() error } = (*Conn)(nil)
