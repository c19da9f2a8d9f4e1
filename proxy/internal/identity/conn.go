package identity

import (
	"crypto/tls"
	"net"
	"sync"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
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

	raw *corked
}

// Write seals p. Only what takes more than one record is gathered: a single record is one write anyway.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) <= record {
		return c.Conn.Write(p)
	}
	c.raw.cork()
	n, err := c.Conn.Write(p)
	if ferr := c.raw.flush(); err == nil && ferr != nil {
		return 0, ferr
	}
	return n, err
}

// NetConn returns the socket, for looking at it without reading.
func (c *Conn) NetConn() net.Conn { return c.raw.Conn }

// corked is the socket below TLS. While corked it gathers writes, whoever makes them (TLS also writes key updates and
// alerts from its reading side), so that their order stays.
type corked struct {
	net.Conn

	mu      sync.Mutex
	held    bool
	pending []byte
}

func (c *corked) cork() {
	c.mu.Lock()
	c.held = true
	c.mu.Unlock()
}

// Write sends p, or keeps it while corked.
func (c *corked) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.held {
		return c.Conn.Write(p)
	}
	c.pending = append(c.pending, p...)
	return len(p), nil
}

func (c *corked) flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	if len(c.pending) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.pending)
	if cap(c.pending) > 8*record {
		c.pending = nil
	} else {
		c.pending = c.pending[:0]
	}
	return err
}

// CloseWrite of the raw socket is never wanted under TLS; tls.Conn.CloseWrite sends close_notify instead.
var _ interface{ CloseWrite() error } = (*Conn)(nil)
