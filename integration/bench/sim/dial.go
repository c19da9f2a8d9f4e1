package sim

import (
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"github.com/weft-mesh/weft/internal/spiffe"
)

// dial connects as a sidecar does, with its SVID, to exactly one replica of a service. Buffers are small, because there are
// thousands of these in one process.
func dial(source *spiffe.Source, service, address string) (*grpc.ClientConn, error) {
	td := source.Load().ID.TrustDomain()
	want, err := spiffe.ID(td, spiffe.Account{Namespace: spiffe.SystemNamespace, Name: service})
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(credentials.NewTLS(spiffe.ClientTLS(source, spiffe.OneOf(want)))),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 20 * time.Second}),
		grpc.WithStaticStreamWindowSize(1<<20), // as the sidecar does
		grpc.WithStaticConnWindowSize(1<<20),
		grpc.WithReadBufferSize(0),
		grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return nil, fmt.Errorf("dial %s at %s: %w", service, address, err)
	}
	return conn, nil
}
