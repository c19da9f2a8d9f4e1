package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/proxy/internal/flow"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// errUnmeshed says why strict mode refuses an endpoint.
var errUnmeshed = errors.New("the endpoint has no sidecar and the mesh accepts only mTLS")

// Counters are of handshakes; read them at any time.
type Counters struct {
	Full    atomic.Uint64
	Resumed atomic.Uint64
	Failed  atomic.Uint64
}

func (c *Counters) count(resumed bool) {
	if resumed {
		c.Resumed.Add(1)
		return
	}
	c.Full.Add(1)
}

// Dialer connects to endpoints. Make one with NewDialer; it is safe for use by many goroutines.
type Dialer struct {
	// Handshakes counts what was made.
	Handshakes Counters

	source   *spiffe.Source
	tables   *table.Holder
	timeout  time.Duration
	sessions *sessions
}

// NewDialer makes a dialer that presents the source's SVID and asks the current table for the mTLS mode. timeout bounds the
// connect, and again the handshake; 0: 1 s.
func NewDialer(source *spiffe.Source, tables *table.Holder, timeout time.Duration) *Dialer {
	if timeout == 0 {
		timeout = time.Second
	}
	return &Dialer{source: source, tables: tables, timeout: timeout, sessions: newSessions()}
}

// Dial connects to an endpoint: a *Conn over mTLS to its sidecar when it has one, else (or in mode off) plaintext to the app.
// Errors are *flow.Failure with reason Connect, TLS, Plaintext or NotReady; nothing was sent to an app in any of them.
func (d *Dialer) Dial(ctx context.Context, ep *table.Endpoint, alpn string) (net.Conn, error) {
	t := d.tables.Load()
	if t == nil {
		return nil, flow.Fail(flow.NotReady, nil)
	}
	if ep.MeshPort == 0 && t.Mesh.MTLS == table.Strict {
		return nil, flow.Fail(flow.Plaintext, fmt.Errorf("dial %s: %w", ep.Key, errUnmeshed))
	}
	port, meshed := ep.MeshPort, ep.MeshPort != 0 && t.Mesh.MTLS != table.Off
	if !meshed {
		port = ep.TargetPort
	}
	raw, err := d.connect(ctx, netip.AddrPortFrom(ep.Address, port))
	if err != nil {
		return nil, flow.Fail(flow.Connect, fmt.Errorf("dial %s: %w", ep.Key, err))
	}
	if !meshed {
		return raw, nil
	}
	conn, err := d.handshake(ctx, raw, ep, alpn)
	if err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

func (d *Dialer) connect(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{Timeout: d.timeout}
	return dialer.DialContext(ctx, "tcp", addr.String())
}

func (d *Dialer) handshake(ctx context.Context, raw net.Conn, ep *table.Endpoint, alpn string) (*Conn, error) {
	m := d.source.Load()
	if m == nil {
		return nil, flow.Fail(flow.NotReady, spiffe.ErrNoSVID)
	}
	tickets := &handle{store: d.sessions, material: m, pair: pair{endpoint: ep.Key, own: m.ID, peer: ep.ID, alpn: alpn}}
	cfg := spiffe.ClientTLS(d.source, spiffe.OneOf(ep.ID))
	verify := cfg.VerifyConnection
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verify(state); err != nil {
			return err
		}
		tickets.notAfter = earlier(state.PeerCertificates[0].NotAfter, m.NotAfter())
		return nil
	}
	cfg.ServerName = ServerName(ep.Service, ep.TargetPort)
	cfg.NextProtos = []string{alpn}
	cfg.ClientSessionCache = tickets
	cfg.DynamicRecordSizingDisabled = true

	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	under := newSocket(raw)
	conn := tls.Client(under, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		d.Handshakes.Failed.Add(1)
		return nil, flow.Fail(flow.TLS, fmt.Errorf("handshake with %s: %w", ep.Key, err))
	}
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != alpn {
		d.Handshakes.Failed.Add(1)
		return nil, flow.Fail(flow.TLS, fmt.Errorf("handshake with %s: protocol %q was not agreed", ep.Key, alpn))
	}
	d.Handshakes.count(state.DidResume)
	return &Conn{Conn: conn, Peer: ep.ID, ALPN: alpn, Resumed: state.DidResume, Generation: m.Generation, sock: under}, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
