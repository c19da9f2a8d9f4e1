package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
)

// client is a connection to the gateway, which speaks every API of the control plane.
type client struct {
	conn        *grpc.ClientConn
	admin       adminpb.AdminServiceClient
	discovery   discoverypb.DiscoveryServiceClient
	policy      policypb.PolicyServiceClient
	identity    identitypb.IdentityServiceClient
	convergence configpb.ConvergenceServiceClient
	telemetry   telemetrypb.TelemetryServiceClient
}

func (c *client) Close() { c.conn.Close() }

// connect makes the connection; nothing is sent before the first call.
func (o *options) connect() (*client, error) {
	token, err := o.token()
	if err != nil {
		return nil, err
	}
	creds, err := o.transport()
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("gateway:///"+o.gateway,
		grpc.WithResolvers(o.replicas()),
		grpc.WithTransportCredentials(creds),
		grpc.WithPerRPCCredentials(bearer(token)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return nil, fmt.Errorf("gateway %q: %w", o.gateway, err)
	}
	return &client{
		conn:        conn,
		admin:       adminpb.NewAdminServiceClient(conn),
		discovery:   discoverypb.NewDiscoveryServiceClient(conn),
		policy:      policypb.NewPolicyServiceClient(conn),
		identity:    identitypb.NewIdentityServiceClient(conn),
		convergence: configpb.NewConvergenceServiceClient(conn),
		telemetry:   telemetrypb.NewTelemetryServiceClient(conn),
	}, nil
}

// replicas resolves to every gateway that was named; gRPC goes to the next when one does not answer.
func (o *options) replicas() resolver.Builder {
	r := manual.NewBuilderWithScheme("gateway")
	var state resolver.State
	for _, address := range strings.Split(o.gateway, ",") {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	r.InitialState(state)
	return r
}

// call runs f with a connection and the command's time limit.
func (o *options) call(ctx context.Context, f func(context.Context, *client) error) error {
	c, err := o.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	err = f(ctx, c)
	// The other side gives up at the same moment, and may be heard of first.
	if deadline, _ := ctx.Deadline(); err != nil && time.Until(deadline) < o.timeout/10 {
		return codeError{exitUnavailable, fmt.Errorf("no answer within %s (--timeout): %s", o.timeout, describe(err))}
	}
	return err
}

// token is the caller's credential; empty when there is none, which the gateway then refuses readably.
func (o *options) token() (string, error) {
	if o.certFile != "" && o.tokenFile == "" {
		return "", nil // the certificate says who it is; a token would count before it
	}
	if t := os.Getenv("WEFT_TOKEN"); t != "" && o.tokenFile == "" {
		return t, nil
	}
	file := o.tokenFile
	if file == "" {
		file = filepath.Join(o.dataDir, "admin.token")
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			file = filepath.Join(o.dataDir, hostTokenFile)
		}
	}
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, os.ErrNotExist) && o.tokenFile == "":
		return "", nil
	case errors.Is(err, os.ErrPermission):
		return "", codeError{exitDenied, fmt.Errorf("administrator's token: %w", err)}
	case err != nil:
		return "", usageError{fmt.Errorf("administrator's token: %w", err)}
	}
	return strings.TrimSpace(string(data)), nil
}

// transport is plaintext to loopback, where the gateway serves no TLS, and TLS with a SPIFFE check everywhere else.
func (o *options) transport() (credentials.TransportCredentials, error) {
	local := true
	for _, address := range strings.Split(o.gateway, ",") {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, usageError{fmt.Errorf("--gateway: %w", err)}
		}
		local = local && isLoopback(host)
	}
	if o.caFile == "" && o.certFile == "" && local {
		return insecure.NewCredentials(), nil
	}
	file := o.caFile
	if file == "" {
		file = filepath.Join(o.dataDir, "bundle.pem")
	}
	return o.systemTLS(file, "gateway")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// systemTLS accepts a server whose SVID chains to the bundle in file and whose account is that of the named service, and presents
// the caller's own SVID when there is one.
func (o *options) systemTLS(file, service string) (credentials.TransportCredentials, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, usageError{fmt.Errorf("trust bundle for a connection over the network (--ca): %w", err)}
	}
	pem, err := x509bundle.Parse(spiffeid.TrustDomain{}, data)
	if err != nil {
		return nil, usageError{fmt.Errorf("trust bundle %q: %w", file, err)}
	}
	verify := func(state tls.ConnectionState) error {
		return verifySystem(state.PeerCertificates, pem.X509Authorities(), service)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, VerifyConnection: verify}
	if (o.certFile == "") != (o.keyFile == "") {
		return nil, usageError{errors.New("--cert and --key come together")}
	}
	if o.certFile != "" {
		own, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
		if err != nil {
			return nil, usageError{fmt.Errorf("SVID to call with (--cert, --key): %w", err)}
		}
		conf.Certificates = []tls.Certificate{own}
	}
	return credentials.NewTLS(conf), nil
}

func verifySystem(certs, roots []*x509.Certificate, service string) error {
	if len(certs) == 0 || len(certs[0].URIs) != 1 {
		return errors.New("server presents no SVID")
	}
	id, err := spiffeid.FromURI(certs[0].URIs[0])
	if err != nil {
		return fmt.Errorf("server's SVID: %w", err)
	}
	if _, _, err := x509svid.Verify(certs, x509bundle.FromX509Authorities(id.TrustDomain(), roots)); err != nil {
		return fmt.Errorf("server's SVID: %w", err)
	}
	if want := "/ns/weft-system/sa/" + service; id.Path() != want {
		return fmt.Errorf("server is %q, not the %s (%s)", id, service, want)
	}
	return nil
}

// bearer sends the token with every call. It may go over plaintext, because that is used to loopback only.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if b == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (b bearer) RequireTransportSecurity() bool { return false }
