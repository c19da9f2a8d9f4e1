package gateway

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
)

func TestTLSPresentsTheGatewaysSVID(t *testing.T) {
	r := newRig(t, TLSOn)
	conf := spiffe.ClientTLS(r.source, spiffe.AnyMember(r.source))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf}}
	resp, err := client.Get(strings.Replace(r.rest, "http://", "https://", 1) + "/v1alpha1/bundle")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.TLS.PeerCertificates[0].URIs[0].String(); got != "spiffe://weft.local/ns/weft-system/sa/gateway" || resp.TLS.Version != tls.VersionTLS13 {
		t.Errorf("peer %q, TLS version %x", got, resp.TLS.Version)
	}
	conn, err := grpc.NewClient(r.grpc, grpc.WithTransportCredentials(credentials.NewTLS(conf)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := identitypb.NewIdentityServiceClient(conn).GetBundle(t.Context(), &identitypb.GetBundleRequest{}); err != nil {
		t.Error(err)
	}
}

// from is a listener with one connection, made to an address.
type from struct {
	net.Listener
	local net.Addr
}

type madeTo struct {
	net.Conn
	local net.Addr
}

func (c madeTo) LocalAddr() net.Addr { return c.local }

func (l from) Accept() (net.Conn, error) { return madeTo{nil, l.local}, nil }

func TestWhichConnectionsAreTLS(t *testing.T) {
	far, near := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv6loopback}
	for _, test := range []struct {
		mode  string
		local net.Addr
		want  bool
	}{
		{TLSAuto, near, false}, {TLSAuto, far, true}, {TLSAuto, &net.UnixAddr{}, true},
		{TLSOn, near, true}, {TLSOff, far, false},
	} {
		conn, err := secure{Listener: from{local: test.local}, mode: test.mode}.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, got := conn.(*tls.Conn); got != test.want {
			t.Errorf("mode %s, connection to %v: TLS is %v, want %v", test.mode, test.local, got, test.want)
		}
	}
}
