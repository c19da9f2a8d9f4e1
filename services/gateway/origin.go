package gateway

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"net"
	"net/http"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/weft-mesh/weft/services/gateway/credential"
	"github.com/weft-mesh/weft/services/gateway/repeat"
)

// What the REST side tells the gateway's own gRPC server of a request; nobody else can reach that server.
const (
	metaAddress = "weft-rest-address"
	metaChain   = "weft-rest-chain-bin"
)

// requestID is the metadata key and header by which a call is found again in logs.
const requestID = "x-request-id"

// origin is what a call came with beside its request.
type origin struct {
	address   string
	requestID string
	repeatKey string
	presented credential.Presented
}

// originOf reads it. A call of the inner server is that of a REST request, whose address and certificates its metadata says.
func originOf(ctx context.Context, inner bool) origin {
	o := origin{
		requestID: orNewID(metadata.ValueFromIncomingContext(ctx, requestID)),
		repeatKey: strings.Join(metadata.ValueFromIncomingContext(ctx, repeat.Header), ","),
		presented: credential.Presented{Authorization: metadata.ValueFromIncomingContext(ctx, "authorization")},
	}
	if inner {
		o.address = strings.Join(metadata.ValueFromIncomingContext(ctx, metaAddress), "")
		if chain := metadata.ValueFromIncomingContext(ctx, metaChain); len(chain) == 1 {
			o.presented.Certificates, _ = x509.ParseCertificates([]byte(chain[0])) // the handshake has parsed them before
		}
		return o
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return o
	}
	o.address = host(p.Addr.String())
	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
		o.presented.Certificates = info.State.PeerCertificates
	}
	return o
}

// restOrigin is what the inner server is told of a REST request.
func restOrigin(_ context.Context, r *http.Request) metadata.MD {
	md := metadata.Pairs(metaAddress, host(r.RemoteAddr))
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		var chain []byte
		for _, cert := range r.TLS.PeerCertificates {
			chain = append(chain, cert.Raw...)
		}
		md.Set(metaChain, string(chain))
	}
	return md
}

// passedHeader says which headers of a REST request its call comes with, by which name. Everything else stays outside: a header
// must not become what only the gateway says.
func passedHeader(name string) (string, bool) {
	switch name := strings.ToLower(name); name {
	case repeat.Header, requestID:
		return name, true
	}
	return "", false // the authorization header is always passed on
}

func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return address
}

// maxID bounds the ids that callers may choose.
const maxID = 128

// orNewID takes the id that a call came with, if it is one, or makes one.
func orNewID(values []string) string {
	if len(values) == 1 && len(values[0]) > 0 && len(values[0]) <= maxID && strings.IndexFunc(values[0], func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0 {
		return values[0]
	}
	return strings.ToLower(rand.Text())
}
