package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
)

func adminTokenCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "admin", Short: "Make, list and revoke the tokens of those who call the control plane"}
	cmd.AddCommand(adminCreateCommand(o), adminListCommand(o), adminDeleteCommand(o))
	return cmd
}

func adminCreateCommand(o *options) *cobra.Command {
	var ttl time.Duration
	var role string
	cmd := &cobra.Command{
		Use:   "create DESCRIPTION",
		Short: "Make a token with a role; its secret is shown once",
		Long: `Make a token for a person or program. Its role says what its holder may do: a viewer reads, an operator writes policy, services
and workloads and starts programs, an administrator does everything. --namespace (or several, with commas) limits viewers and
operators to some namespaces; without it the role holds in all.`,
		Example: "  weft token admin create --role operator --namespace shop --ttl 24h 'ann, on call'\n  weft token admin create --role viewer dashboard",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			grant := &identitypb.Grant{Role: identitypb.Role(identitypb.Role_value["ROLE_"+strings.ToUpper(role)])}
			if grant.GetRole() == identitypb.Role_ROLE_UNSPECIFIED {
				return usageError{fmt.Errorf("--role %q: allowed are viewer, operator, administrator", role)}
			}
			if cmd.Flags().Changed("namespace") {
				grant.Namespaces = strings.Split(o.namespace, ",")
			}
			req := &identitypb.CreateAdminTokenRequest{Description: args[0], Grant: grant}
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
	cmd.Flags().StringVar(&role, "role", "administrator", "viewer, operator or administrator")
	return cmd
}

func adminListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List these tokens with their roles, without their secrets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.call(cmd.Context(), func(ctx context.Context, c *client) error {
				all := &identitypb.ListAdminTokensResponse{}
				for req := (&identitypb.ListAdminTokensRequest{}); ; {
					page, err := c.identity.ListAdminTokens(ctx, req)
					if err != nil {
						return err
					}
					all.AdminTokens = append(all.AdminTokens, page.GetAdminTokens()...)
					if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
						break
					}
				}
				return o.print(all, func(w io.Writer) { printTokens(w, all.GetAdminTokens()) })
			})
		},
	}
}

func printTokens(w io.Writer, tokens []*identitypb.AdminToken) {
	rows := [][]string{{"ID", "ROLE", "NAMESPACES", "DESCRIPTION", "CREATED", "EXPIRES"}}
	for _, t := range tokens {
		expires := "never"
		if t.GetExpireTime() != nil {
			expires = t.GetExpireTime().AsTime().Local().Format(time.DateTime)
		}
		role, namespaces := roleText(t.GetGrant().GetRole()), namespacesText(t.GetGrant())
		if t.GetHost() != nil {
			role, namespaces = "host", strings.Join(t.GetHost().GetNamespaces(), ",")
		}
		rows = append(rows, []string{
			t.GetId(), role, namespaces, t.GetDescription(),
			t.GetCreateTime().AsTime().Local().Format(time.DateTime), expires,
		})
	}
	table(w, rows)
}

func adminDeleteCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "delete ID",
		Short: "Revoke such a token; it stops working everywhere within 5 s",
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
