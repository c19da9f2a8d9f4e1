package gateway

import (
	"crypto/tls"
	"net"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// Values of Config.TLS.
const (
	TLSAuto = "auto" // off for connections over loopback, on for all others
	TLSOn   = "on"
	TLSOff  = "off"
)

// secure is a listener that decides for each connection whether it is TLS: what never leaves the machine needs none, and so
// a gateway that listens everywhere is still reached plainly by the commands beside it.
type secure struct {
	net.Listener
	mode string
	conf *tls.Config
}

// Accept waits for the next connection; the handshake runs with its first read.
func (l secure) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || l.mode == TLSOff || l.mode == TLSAuto && isLoopback(conn.LocalAddr()) {
		return conn, err
	}
	return tls.Server(conn, l.conf), nil
}

func isLoopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// secured presents the gateway's SVID on a port. A client may present one of this mesh too, instead of a token; a certificate
// that is none ends the handshake.
func (s *Service) secured(l net.Listener, protocols ...string) net.Listener {
	conf := spiffe.ServerTLSOptional(s.deps.Trust, spiffe.AnyMember(s.deps.Trust))
	conf.NextProtos = protocols
	return secure{Listener: l, mode: s.cfg.TLS, conf: conf}
}
