package datagram

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/wire"
)

// Peer is the far end of a session. One goroutine sends, another one receives.
type Peer interface {
	// Send sends whole frames; lost is how many of them the peer's socket did not take.
	Send(frames []byte) (lost int, err error)
	// Receive calls deliver for each datagram, a view that is valid during the call, until the end: nil for a regular one.
	Receive(deliver func(payload []byte)) error
	// Goodbye tells the other end why the session ends (None: as sessions do), where there is a way to say so; nothing is
	// sent after it.
	Goodbye(reason flow.Reason)
	// Abort makes Send and Receive fail; it may be called from any goroutine, and more than once.
	Abort()
}

// errLast says that the other sidecar has ended the session.
var errLast = errors.New("the other sidecar has ended the session")

// errUnsent is about one datagram.
var errUnsent = errors.New("the socket did not take the datagram")

// Stream is a session over a connection to or from another sidecar.
type Stream struct {
	conn *wire.Conn
	once sync.Once
}

// NewStream makes a Stream of a connection with ALPN weft-udp/1, which it owns from now on.
func NewStream(conn net.Conn) *Stream { return &Stream{conn: wire.New(conn, nil)} }

// Send writes the frames as they are.
func (s *Stream) Send(frames []byte) (int, error) {
	_, err := s.conn.Write(frames)
	return 0, err
}

// Receive reads frames. It holds four kilobytes while nothing comes.
func (s *Stream) Receive(deliver func([]byte)) error {
	defer func() { s.conn.Discard(len(s.conn.Buffered())) }() // the buffer goes back
	for {
		f, n, err := Next(s.conn.Buffered())
		switch {
		case err != nil:
			return flow.Fail(flow.UpstreamProtocol, err)
		case f.Last:
			return ended(string(f.Payload))
		case n > 0:
			deliver(f.Payload)
			s.conn.Discard(n)
			continue
		}
		if err := s.conn.Fill(); err != nil {
			return fmt.Errorf("receive datagrams: %w", err)
		}
	}
}

// ended is what a last word means: one that this version does not know is a failure all the same.
func ended(name string) error {
	if name == "" {
		return nil
	}
	reason, ok := flow.ReasonNamed(name)
	if !ok {
		return flow.Fail(flow.UpstreamReset, fmt.Errorf("%w: %q", errLast, name))
	}
	return flow.Fail(reason, errLast)
}

// Goodbye sends the last word and closes this direction.
func (s *Stream) Goodbye(reason flow.Reason) {
	// An error means that the other end has gone, and needs no word.
	_, _ = s.conn.Write(AppendLast(nil, reason.String()))
	_ = s.conn.CloseWrite()
}

// Refuse ends a stream that gets no session: it says the last word and waits a moment until it is heard, because to close while
// datagrams are unread would destroy it.
func (s *Stream) Refuse(reason flow.Reason) {
	s.conn.SetDeadline(time.Now().Add(goodbyeLimit))
	s.Goodbye(reason)
	// However it ends, nobody is interested any more.
	_ = s.Receive(func([]byte) {})
}

// Abort closes the connection.
func (s *Stream) Abort() { s.once.Do(func() { _ = s.conn.Abort() }) }

// App is a session over a connected socket: to a program, or to what has no sidecar.
type App struct {
	conn net.Conn
	once sync.Once
}

// NewApp makes an App of a connected UDP socket, which it owns from now on.
func NewApp(conn net.Conn) *App { return &App{conn: conn} }

// Send sends each frame as a datagram.
func (a *App) Send(frames []byte) (lost int, err error) {
	for len(frames) > 0 {
		f, n, err := Next(frames)
		if err != nil || n == 0 {
			return lost, fmt.Errorf("frames of our own are broken: %w", err)
		}
		if err := a.Write(f.Payload); errors.Is(err, errUnsent) {
			lost++
		} else if err != nil {
			return lost, err
		}
		frames = frames[n:]
	}
	return lost, nil
}

// Write sends one datagram. It returns errUnsent for one that the socket did not take, which is lost, as datagrams are; other
// errors mean that there is nobody at the other end.
func (a *App) Write(payload []byte) error {
	_, err := a.conn.Write(payload)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, net.ErrClosed):
		return flow.Fail(flow.Connect, err)
	}
	return errUnsent
}

// Goodbye closes the socket: UDP has no words for it.
func (a *App) Goodbye(flow.Reason) { a.Abort() }

// Abort closes the socket.
func (a *App) Abort() { a.once.Do(func() { _ = a.conn.Close() }) }

// refused gives the error of a socket its reason: what nobody listens for is refused by the host.
func refused(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) {
		return flow.Fail(flow.Connect, err)
	}
	return err
}

// goodbyeLimit bounds how long a session that ends early waits until its last word is sent.
const goodbyeLimit = time.Second
