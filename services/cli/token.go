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
		Short: "Make and revoke tokens: for sidecars, services and hosts to join with, for administrators to call with",
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
	creds, err := systemTLS(file, "identity")
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("dns:///"+address, grpc.WithTransportCredentials(creds), grpc.WithPerRPCCredentials(bearer(token)))
	if err != nil {
		return nil, fmt.Errorf("identity service %q: %w", address, err)
	}
	return conn, nil
}

func adminTokenCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "admin", Short: "Make, list and revoke administrators' tokens"}
	cmd.AddCommand(adminCreateCommand(o), adminListCommand(o), adminDeleteCommand(o))
	return cmd
}

func adminCreateCommand(o *options) *cobra.Command {
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "create DESCRIPTION",
		Short: "Make an administrator's token; its secret is shown once",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &identitypb.CreateAdminTokenRequest{Description: args[0]}
			if ttl > 0 {
				req.Ttl = durationpb.New(ttl)
			}
			return o.call(cmd.Context(), func(ctx context.Context, c *client) error {
				resp, err := c.identity.CreateAdminToken(ctx, req)
				if err != nil {
					return err
				}
				return o.print(resp, func(w io.Writer) { fmt.Fprintln(w, resp.GetSecret()) })
			})
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long it works (default: for ever)")
	return cmd
}

func adminListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List administrators' tokens, without their secrets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.call(cmd.Context(), func(ctx context.Context, c *client) error {
				resp, err := c.identity.ListAdminTokens(ctx, &identitypb.ListAdminTokensRequest{})
				if err != nil {
					return err
				}
				rows := [][]string{{"ID", "DESCRIPTION", "CREATED", "EXPIRES"}}
				for _, t := range resp.GetAdminTokens() {
					expires := "never"
					if t.GetExpireTime() != nil {
						expires = t.GetExpireTime().AsTime().Local().Format(time.DateTime)
					}
					rows = append(rows, []string{t.GetId(), t.GetDescription(), t.GetCreateTime().AsTime().Local().Format(time.DateTime), expires})
				}
				return o.print(resp, func(w io.Writer) { table(w, rows) })
			})
		},
	}
}

func adminDeleteCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "delete ID",
		Short: "Revoke an administrator's token; it stops working everywhere within 5 s",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.call(cmd.Context(), func(ctx context.Context, c *client) error {
				_, err := c.identity.DeleteAdminToken(ctx, &identitypb.DeleteAdminTokenRequest{Id: args[0]})
				if err == nil {
					fmt.Fprintf(o.streams.Out, "token %s revoked\n", args[0])
				}
				return err
			})
		},
	}
}
