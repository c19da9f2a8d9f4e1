package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
)

func tokenCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make and revoke tokens: for sidecars, services and hosts to join with, for people and programs to call with",
	}
	cmd.AddCommand(joinTokenCommand(o), hostTokenCommand(o), adminTokenCommand(o))
	return cmd
}

func joinTokenCommand(o *options) *cobra.Command {
	var account, identity string
	var services []string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "join --account NAME",
		Short: "Mint a one-time token that is redeemed for an identity",
		Long: `Mint a one-time token that is redeemed for the identity of one account. It carries the trust domain, hashes of the
authorities and the addresses of the control plane, so that its holder trusts nothing on first use.

With --identity the token is asked of the identity service itself, for the time before there is a gateway: that is how the
other services of a control plane that runs as one process each get their first identities.`,
		Example: "  weft token join --account reviews --service reviews\n  weft token join -n weft-system --account policy --identity 127.0.0.1:9712",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := &identitypb.CreateJoinTokenRequest{Namespace: o.namespace, Account: account, Services: services}
			if ttl > 0 {
				req.Ttl = durationpb.New(ttl)
			}
			resp, err := o.createJoinToken(cmd.Context(), req, identity)
			if err != nil {
				return err
			}
			return o.print(resp, func(w io.Writer) { fmt.Fprintln(w, resp.GetToken()) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&account, "account", "", "account of the identity")
	f.StringArrayVar(&services, "service", nil, "service that it may be an endpoint of; may be repeated")
	f.DurationVar(&ttl, "ttl", 0, "how long it may be redeemed (default 10m, at most 24h)")
	f.StringVar(&identity, "identity", "", "address of the identity service, when there is no gateway yet")
	_ = cmd.MarkFlagRequired("account")
	return cmd
}

func (o *options) createJoinToken(ctx context.Context, req *identitypb.CreateJoinTokenRequest, identity string) (resp *identitypb.CreateJoinTokenResponse, err error) {
	if identity == "" {
		err = o.call(ctx, func(ctx context.Context, c *client) error {
			resp, err = c.identity.CreateJoinToken(ctx, req)
			return err
		})
		return resp, err
	}
	conn, err := o.dialIdentity(identity)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return identitypb.NewIdentityServiceClient(conn).CreateJoinToken(ctx, req, grpc.WaitForReady(true))
}

func (o *options) dialIdentity(address string) (*grpc.ClientConn, error) {
	token, err := o.token()
	if err != nil {
		return nil, err
	}
	file := o.caFile
	if file == "" {
		file = filepath.Join(o.dataDir, "bundle.pem")
	}
	creds, err := o.systemTLS(file, "identity")
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("dns:///"+address, grpc.WithTransportCredentials(creds), grpc.WithPerRPCCredentials(bearer(token)))
	if err != nil {
		return nil, fmt.Errorf("identity service %q: %w", address, err)
	}
	return conn, nil
}
