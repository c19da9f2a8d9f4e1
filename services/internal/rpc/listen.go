package rpc

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"google.golang.org/grpc/test/bufconn"
)

// memoryBuffer is how much one direction of an in-memory connection holds before its writer waits.
const memoryBuffer = 1 << 20

// Memory is a listener in this process. It has a real TLS handshake on every connection, like any other.
type Memory struct{ *bufconn.Listener }

// NewMemory makes one.
func NewMemory() Memory { return Memory{bufconn.Listen(memoryBuffer)} }

// Dial connects to it; it is what DialConfig.InMemory wants.
func (m Memory) Dial(ctx context.Context) (net.Conn, error) { return m.DialContext(ctx) }

// Listen opens a TCP listener; port 0 lets the kernel choose.
func Listen(ctx context.Context, host string, port int) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("listen on %s port %d: %w", host, port, err)
	}
	return l, nil
}
