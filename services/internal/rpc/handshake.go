package rpc

import (
	"errors"
	"net"
	"runtime"
	"time"

	"google.golang.org/grpc/credentials"
)

const (
	// handshakesPerCore is how many handshakes run at once for each core. A handshake is many times the work of a message: when
	// all clients of a replica that died come at once, they must not stand in front of the streams that are there. Clients that
	// are far away take their time, so that there have to be more than the core can work on.
	handshakesPerCore = 64
	// handshakeHold is how long a handshake keeps its place at most: one whose client is slow, or says nothing on purpose, goes on
	// without it.
	handshakeHold = 250 * time.Millisecond
	// handshakeQueue is how long a connection waits for its place. Then it is closed, which costs nothing, and its client comes
	// back after a pause, maybe to another replica: better than to let it wait until it gives up in the midst of the work.
	handshakeQueue = time.Second
)

var errHandshakes = errors.New("too many handshakes at once")

// paced is TLS that bounds how many handshakes run at once.
type paced struct {
	credentials.TransportCredentials
	places chan struct{}
}

func newPaced(inner credentials.TransportCredentials) paced {
	return paced{inner, make(chan struct{}, handshakesPerCore*runtime.GOMAXPROCS(0))}
}

// ServerHandshake implements credentials.TransportCredentials.
func (p paced) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	wait := time.NewTimer(handshakeQueue)
	defer wait.Stop()
	select {
	case p.places <- struct{}{}:
	case <-wait.C:
		return nil, nil, errHandshakes
	}
	leave := func() { <-p.places }
	hold := time.AfterFunc(handshakeHold, leave)
	defer func() {
		if hold.Stop() {
			leave()
		}
	}()
	return p.TransportCredentials.ServerHandshake(conn)
}

// Clone implements credentials.TransportCredentials; the clone shares the places.
func (p paced) Clone() credentials.TransportCredentials {
	return paced{p.TransportCredentials.Clone(), p.places}
}
