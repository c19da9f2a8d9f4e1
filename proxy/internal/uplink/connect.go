package uplink

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	gbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// connectTimeout bounds one attempt; a replica that does not answer in this time is left for the next one.
const connectTimeout = 3 * time.Second

// A control plane that vanishes without a word is noticed by its silence. Its servers ask every 10 s whether a sidecar is alive,
// and to be asked is a sign of life: the sidecar itself asks only when nobody does.
const (
	silence       = 15 * time.Second
	answerTimeout = 5 * time.Second
)

// window is how much a replica may send before it has been read here.
const window = 1 << 20

// TLS connects with the given TLS configuration. Proxies from the environment are not used: they are the app's.
func TLS(config *tls.Config) Connect {
	return func(address string) (*grpc.ClientConn, error) {
		return grpc.NewClient(address,
			grpc.WithTransportCredentials(credentials.NewTLS(config)),
			grpc.WithNoProxy(),
			grpc.WithDisableServiceConfig(),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: silence, Timeout: answerTimeout}),
			// Windows that adapt are measured by a ping for each message that comes in: on a stream of small ones, and on both
			// sides, that costs more than the messages.
			grpc.WithStaticStreamWindowSize(window),
			grpc.WithStaticConnWindowSize(window),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: gbackoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
		)
	}
}

// SPIFFE connects with the source's SVID and accepts only the named service of the control plane.
func SPIFFE(source *spiffe.Source, td spiffeid.TrustDomain, service string) (Connect, error) {
	id, err := spiffe.ID(td, spiffe.Account{Namespace: spiffe.SystemNamespace, Name: service})
	if err != nil {
		return nil, fmt.Errorf("identity of the %s service: %w", service, err)
	}
	return TLS(spiffe.ClientTLS(source, spiffe.OneOf(id))), nil
}
