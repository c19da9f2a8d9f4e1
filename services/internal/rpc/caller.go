package rpc

import (
	"context"
	"crypto/x509"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/fault"
)

// caller reads the verified peer certificate; the handshake has refused every peer whose chain does not verify.
func (c *chain) caller(ctx context.Context) (Caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Caller{}, nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return Caller{}, nil
	}
	account, err := c.account(ctx, info.State.PeerCertificates)
	if err != nil {
		return Caller{}, err
	}
	caller := Caller{Account: account}
	if caller.System(gateway) {
		if v := metadata.ValueFromIncomingContext(ctx, principalKey); len(v) == 1 {
			if caller.Principal, err = url.PathUnescape(v[0]); err != nil {
				return Caller{}, fault.Wrap(fault.Invalid, err, "decode the person on whose behalf the gateway calls")
			}
		}
		caller.Namespaces = strings.Join(metadata.ValueFromIncomingContext(ctx, namespacesKey), ",")
	}
	return caller, nil
}

// account verifies the certificates of a connection again once the bundle has changed or the leaf has run out since the
// last request: a connection does not outlive its SVID nor the authority behind it.
func (c *chain) account(ctx context.Context, certs []*x509.Certificate) (spiffe.Account, error) {
	conn, _ := ctx.Value(connectionKey{}).(*connection)
	material := c.trust.Load()
	if conn != nil && material != nil {
		if v := conn.verified.Load(); v != nil && v.generation == material.Generation && time.Now().Before(v.until) {
			return v.account, nil
		}
	}
	id, err := spiffe.PeerID(c.trust, certs)
	if err != nil {
		return spiffe.Account{}, fault.Wrap(fault.Anonymous, err, "client certificate of this connection is no longer valid; reconnect")
	}
	account, err := spiffe.ParseID(id)
	if err != nil {
		return spiffe.Account{}, fault.Wrap(fault.Denied, err, "caller is not known")
	}
	if conn != nil && material != nil {
		conn.verified.Store(&verified{account: account, generation: material.Generation, until: certs[0].NotAfter})
	}
	return account, nil
}

// connection remembers whom a connection was verified as.
type connection struct{ verified atomic.Pointer[verified] }

type verified struct {
	account    spiffe.Account
	generation uint64
	until      time.Time
}

type connectionKey struct{}

// connections gives each connection a place to remember its peer; it counts nothing.
type connections struct{}

func (connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{})
}
func (connections) HandleConn(context.Context, stats.ConnStats)                     {}
func (connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (connections) HandleRPC(context.Context, stats.RPCStats)                       {}
