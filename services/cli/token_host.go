package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
)

func hostTokenCommand(o *options) *cobra.Command {
	var host string
	var accounts []string
	var ttl, credentialTTL time.Duration
	cmd := &cobra.Command{
		Use:   "host --name HOST [--accounts A,B]",
		Short: "Mint a one-time token by which another machine joins (`weft join`)",
		Long: `Mint a one-time token by which another machine joins: "weft join TOKEN" on it. It carries hashes of the authorities and the
addresses of the control plane, so that the host trusts nothing on first use.

What the host gets for it starts workloads in the namespace (-n) with these accounts and reads how the mesh is; it can
change no policy. "weft token admin delete ID" takes it back.`,
		Example: "  weft token host --name b -n shop --accounts cart,web --ttl 1h",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req := &identitypb.CreateHostTokenRequest{Scope: &identitypb.HostScope{Host: host, Namespaces: []string{o.namespace}, Accounts: accounts}}
			if ttl > 0 {
				req.Ttl = durationpb.New(ttl)
			}
			if credentialTTL > 0 {
				req.CredentialTtl = durationpb.New(credentialTTL)
			}
			return o.call(cmd.Context(), func(ctx context.Context, c *client) error {
				resp, err := c.identity.CreateHostToken(ctx, req)
				if err != nil {
					return err
				}
				if slices.ContainsFunc(resp.GetGatewayAddresses(), isLocal) {
					fmt.Fprintf(o.streams.Err, "weft: the control plane advertises %s, which no other machine reaches: start it with --listen and --advertise\n",
						resp.GetGatewayAddresses()[0])
				}
				return o.print(resp, func(w io.Writer) { fmt.Fprintln(w, resp.GetToken()) })
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&host, "name", "", "name of the host, for people")
	f.StringSliceVar(&accounts, "accounts", nil, "accounts of its workloads, comma-separated (default: any of the namespace)")
	f.DurationVar(&ttl, "ttl", 0, "how long the token may be redeemed (default 1h, at most 24h)")
	f.DurationVar(&credentialTTL, "credential-ttl", 0, "how long the host may start workloads once it has joined (default: until it is revoked)")
	_ = cmd.MarkFlagRequired("name")
	return cmd
}

func isLocal(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && isLoopback(host)
}
