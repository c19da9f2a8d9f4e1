package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/sandbox"
)

func checkCommand(o *options) *cobra.Command {
	var clean bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for what is wrong or will go wrong, and say how to mend it",
		Long: `Look for what is wrong or will go wrong, in the mesh and on this host, and say how to mend it. Ends with exit code 1 when
something does not work.

With --clean it removes what captured programs left behind on this host when ` + "`weft run`" + ` was killed: their processes,
interfaces and state, and the bridge when nobody uses it. That needs no control plane.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if clean {
				return o.clean()
			}
			return o.check(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&clean, "clean", false, "remove what killed programs left behind on this host")
	return cmd
}

func (o *options) check(ctx context.Context) error {
	var resp *adminpb.CheckMeshResponse
	err := o.call(ctx, func(ctx context.Context, c *client) (err error) {
		resp, err = c.admin.CheckMesh(ctx, &adminpb.CheckMeshRequest{})
		return err
	})
	if err != nil {
		return err
	}
	resp.Findings = append(resp.Findings, o.checkHost()...)
	if err := o.print(resp, func(w io.Writer) { printFindings(w, resp) }); err != nil {
		return err
	}
	for _, f := range resp.GetFindings() {
		if f.GetSeverity() == adminpb.Severity_SEVERITY_ERROR {
			return codeError{code: exitError}
		}
	}
	return nil
}

// checkHost looks at this host; without the privilege to see everything it says what it sees.
func (o *options) checkHost() []*adminpb.Finding {
	left, err := sandbox.Leftovers(o.sandboxes(""))
	if err != nil {
		return []*adminpb.Finding{{Severity: adminpb.Severity_SEVERITY_WARNING, Subject: "this host", Message: "captured programs cannot be looked at: " + err.Error()}}
	}
	var out []*adminpb.Finding
	for _, l := range left {
		out = append(out, &adminpb.Finding{
			Severity: adminpb.Severity_SEVERITY_WARNING, Subject: "this host", Message: leftover(l), Remedy: "run `weft check --clean` as root",
		})
	}
	return out
}

func leftover(l sandbox.Leftover) string {
	switch {
	case l.Owner == "":
		return "the bridge of captured programs has no program any more"
	case len(l.Processes) > 0:
		return fmt.Sprintf("`weft run` of workload %s was killed; processes %v of its program live on", l.Owner, l.Processes)
	default:
		return fmt.Sprintf("`weft run` of workload %s was killed and could not tidy up", l.Owner)
	}
}

func (o *options) clean() error {
	if err := sandbox.Able(); err != nil {
		return codeError{exitDenied, fmt.Errorf("--clean needs root: %w", err)}
	}
	found, err := sandbox.Clean(o.sandboxes(""))
	for _, l := range found {
		fmt.Fprintf(o.streams.Out, "removed: %s\n", leftover(l))
	}
	if len(found) == 0 && err == nil {
		fmt.Fprintln(o.streams.Out, "nothing to remove on this host")
	}
	if err != nil {
		return codeError{exitError, err}
	}
	return nil
}

func printFindings(w io.Writer, resp *adminpb.CheckMeshResponse) {
	marks := map[adminpb.Severity]string{
		adminpb.Severity_SEVERITY_OK:      "ok     ",
		adminpb.Severity_SEVERITY_WARNING: "warning",
		adminpb.Severity_SEVERITY_ERROR:   "error  ",
	}
	for _, f := range resp.GetFindings() {
		fmt.Fprintf(w, "%s  %s: %s\n", marks[f.GetSeverity()], f.GetSubject(), f.GetMessage())
		if f.GetRemedy() != "" {
			fmt.Fprintf(w, "         -> %s\n", f.GetRemedy())
		}
	}
}
