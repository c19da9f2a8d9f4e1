package identity

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/flow"
)

// handshakeTimeout bounds what a client may take to prove itself.
const handshakeTimeout = 5 * time.Second

// Server ends the mesh's TLS. Make one with NewServer; it is safe for use by many goroutines.
type Server struct {
	// Handshakes counts what was made.
	Handshakes Counters

	source    *spiffe.Source
	current   atomic.Pointer[serverConfig]
	inherited atomic.Pointer[ticketKey]
}

// serverConfig belongs to one material.
type serverConfig struct {
	material *spiffe.Material
	tls      *tls.Config
	ticket   ticketKey
}

// NewServer makes a server that presents the source's SVID and accepts every member of its trust domain.
func NewServer(source *spiffe.Source) *Server {
	return &Server{source: source}
}

// Accepted is a mesh connection that a client opened.
type Accepted struct {
	*Conn
	// Service and TargetPort are what the client asked for by SNI.
	Service    string
	TargetPort uint16
}

// Accept makes the handshake. Errors are *flow.Failure; raw is closed then.
func (s *Server) Accept(ctx context.Context, raw net.Conn) (*Accepted, error) {
	accepted, err := s.accept(ctx, raw)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return accepted, nil
}

func (s *Server) accept(ctx context.Context, raw net.Conn) (*Accepted, error) {
	cfg := s.config()
	if cfg == nil {
		return nil, flow.Fail(flow.NotReady, spiffe.ErrNoSVID)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	under := newSocket(raw)
	conn := tls.Server(under, cfg.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		s.Handshakes.Failed.Add(1)
		return nil, flow.Fail(flow.TLS, fmt.Errorf("handshake with %s: %w", raw.RemoteAddr(), err))
	}
	state := conn.ConnectionState()
	service, port, ok := ParseServerName(state.ServerName)
	peer, err := spiffeid.FromURI(state.PeerCertificates[0].URIs[0]) // verified to be there
	if !ok || err != nil || state.NegotiatedProtocol == "" {
		s.Handshakes.Failed.Add(1)
		conn.Close()
		return nil, flow.Fail(flow.TLS, fmt.Errorf("handshake with %s: server name %q or protocol %q is not the mesh's", raw.RemoteAddr(), state.ServerName, state.NegotiatedProtocol))
	}
	s.Handshakes.count(state.DidResume)
	return &Accepted{
		Conn: &Conn{Conn: conn, Peer: peer, ALPN: state.NegotiatedProtocol, Resumed: state.DidResume,
			Generation: cfg.material.Generation, sock: under},
		Service: service, TargetPort: port,
	}, nil
}

// config returns the configuration of the current material, made once for each.
func (s *Server) config() *serverConfig {
	m := s.source.Load()
	if m == nil {
		return nil
	}
	have := s.current.Load()
	if have != nil && have.material == m {
		return have
	}
	cfg := spiffe.ServerTLS(s.source, spiffe.AnyMember(s.source))
	cfg.NextProtos = []string{ALPNHTTP1, ALPNHTTP2, ALPNTCP, ALPNUDP}
	cfg.DynamicRecordSizingDisabled = true
	next := &serverConfig{material: m, tls: cfg, ticket: s.ticketKeyFor(m)}
	cfg.SetSessionTicketKeys([][32]byte{next.ticket.key})
	if !s.current.CompareAndSwap(have, next) {
		return s.config()
	}
	return next
}
