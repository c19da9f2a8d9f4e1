package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

func auditCommand(o *options) *cobra.Command {
	var since time.Duration
	var who, kind string
	var failed, follow bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who changed what, and who was not allowed to",
		Long: `Show every call that changed something, or was refused, oldest first: who made it and by what credential, from where, what
it was about, and what came of it. Callers see what is about namespaces of theirs. With --follow what is written from now on
comes too, until interrupted.`,
		Example: "  weft audit --since 1h\n  weft audit --who first --namespace shop\n  weft audit -f --failed",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter := &adminpb.AuditFilter{Principal: who, Kind: kind, Failed: failed}
			if cmd.Flags().Changed("namespace") {
				filter.Namespace = o.namespace
			}
			if since > 0 {
				filter.Since = timestamppb.New(time.Now().Add(-since))
			}
			if follow {
				return o.followAudit(cmd.Context(), filter)
			}
			return o.call(cmd.Context(), func(ctx context.Context, c *client) error { return o.listAudit(ctx, c, filter) })
		},
	}
	f := cmd.Flags()
	f.DurationVar(&since, "since", 0, "only of the last 1h, 24h, … (default: all that is kept; with --follow none)")
	f.StringVar(&who, "who", "", "only of this principal: the id of a token, a SPIFFE ID, an OIDC subject")
	f.StringVar(&kind, "kind", "", "only about objects of this kind: Route, JoinToken, AdminToken, …")
	f.BoolVar(&failed, "failed", false, "only calls that failed")
	f.BoolVarP(&follow, "follow", "f", false, "go on with what is written from now on")
	return cmd
}

func (o *options) listAudit(ctx context.Context, c *client, filter *adminpb.AuditFilter) error {
	all := &adminpb.ListAuditEventsResponse{}
	for req := (&adminpb.ListAuditEventsRequest{Filter: filter, PageSize: 1000}); ; {
		page, err := c.admin.ListAuditEvents(ctx, req)
		if err != nil {
			return err
		}
		all.Events = append(all.Events, page.GetEvents()...)
		if req.PageToken = page.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	return o.print(all, func(w io.Writer) {
		rows := [][]string{{"TIME", "WHO", "ROLE", "FROM", "CALL", "ABOUT", "RESULT"}}
		for _, e := range all.GetEvents() {
			rows = append(rows, auditRow(e))
		}
		table(w, rows)
	})
}

// followAudit prints events as they come, each by itself: nobody knows how wide the next one will be.
func (o *options) followAudit(ctx context.Context, filter *adminpb.AuditFilter) error {
	c, err := o.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	stream, err := c.admin.WatchAuditEvents(ctx, &adminpb.WatchAuditEventsRequest{Filter: filter})
	for err == nil {
		var resp *adminpb.WatchAuditEventsResponse
		if resp, err = stream.Recv(); err == nil {
			err = o.print(resp.GetEvent(), func(w io.Writer) { fmt.Fprintln(w, strings.Join(auditRow(resp.GetEvent()), "  ")) })
		}
	}
	if ctx.Err() != nil || errors.Is(err, io.EOF) || code(err) == codes.Canceled {
		return nil
	}
	return err
}

func auditRow(e *adminpb.AuditEvent) []string {
	credential := enum(e.GetCredential().String(), "CREDENTIAL_")
	who := orDash(e.GetPrincipal())
	if e.GetCredential() != adminpb.Credential_CREDENTIAL_UNSPECIFIED {
		who += " (" + credential + ")"
	}
	result := e.GetCode()
	if e.GetMessage() != "" {
		result += ": " + e.GetMessage()
	}
	if e.GetRepeatedAnswer() {
		result += " (repeated)"
	}
	method := e.GetMethod()[strings.LastIndexByte(e.GetMethod(), '/')+1:]
	return []string{
		e.GetTime().AsTime().Local().Format(time.DateTime), who, roleText(e.GetRole()), orDash(e.GetAddress()), method, orDash(objectsText(e.GetObjects())), result,
	}
}

// objectsText names a few objects; an apply may have very many.
func objectsText(objects []*typepb.ObjectRef) string {
	const most = 3
	var out []string
	for i, o := range objects {
		if i == most {
			out = append(out, fmt.Sprintf("and %d more", len(objects)-most))
			break
		}
		name := o.GetName()
		if o.GetNamespace() != "" {
			name = o.GetNamespace() + "/" + name
		}
		out = append(out, o.GetKind()+" "+name)
	}
	return strings.Join(out, ", ")
}

func roleText(r identitypb.Role) string {
	if r == identitypb.Role_ROLE_UNSPECIFIED {
		return "-"
	}
	return enum(r.String(), "ROLE_")
}

func whoAmICommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "whoami",
		Short: "Show who calls, by which credential, and what that may do",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.call(cmd.Context(), func(ctx context.Context, c *client) error {
				resp, err := c.admin.WhoAmI(ctx, &adminpb.WhoAmIRequest{})
				if err != nil {
					return err
				}
				return o.print(resp, func(w io.Writer) {
					rows := [][]string{{"WHO", "CREDENTIAL", "ROLE", "NAMESPACES"}}
					for _, g := range resp.GetGrants() {
						rows = append(rows, []string{resp.GetPrincipal(), enum(resp.GetCredential().String(), "CREDENTIAL_"), roleText(g.GetRole()), namespacesText(g)})
					}
					table(w, rows)
				})
			})
		},
	}
}

func namespacesText(g *identitypb.Grant) string {
	if len(g.GetNamespaces()) == 0 {
		return "all"
	}
	return strings.Join(g.GetNamespaces(), ",")
}
