package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
)

func applyCommand(o *options) *cobra.Command {
	var files []string
	var dryRun, strict bool
	var wait waitFlags
	cmd := &cobra.Command{
		Use:   "apply -f FILE...",
		Short: "Create or update the objects of some manifests",
		Long: `Create or update every object of some manifests (YAML or JSON, many documents in one file; - is standard input).

All objects are validated first, against each other too; nothing is written if one of them is invalid.
With --wait the command returns when every affected, connected sidecar has applied the change, and ends with exit code 8
when some have not within the time given.`,
		Example: "  weft apply -f canary.yaml --wait\n  weft apply -f - --dry-run < policy.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			manifests, err := readFiles(files, o.streams.In)
			if err != nil {
				return err
			}
			return o.apply(cmd.Context(), &adminpb.ApplyRequest{Manifests: manifests, DryRun: dryRun, Strict: strict}, wait)
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&files, "file", "f", nil, "file with manifests; may be repeated; - is standard input")
	f.BoolVar(&dryRun, "dry-run", false, "validate everything and write nothing")
	f.BoolVar(&strict, "strict", false, "refuse references to objects that do not exist instead of warning")
	wait.add(cmd)
	_ = cmd.MarkFlagRequired("file")
	return cmd
}

// readFiles joins manifests into one stream of documents.
func readFiles(files []string, in io.Reader) (string, error) {
	var all string
	for _, name := range files {
		data, err := readFile(name, in)
		if err != nil {
			return "", usageError{fmt.Errorf("manifest: %w", err)}
		}
		if all != "" {
			all += "\n---\n"
		}
		all += string(data)
	}
	return all, nil
}

func readFile(name string, in io.Reader) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(in)
	}
	return os.ReadFile(name)
}

func (o *options) apply(ctx context.Context, req *adminpb.ApplyRequest, wait waitFlags) error {
	var resp *adminpb.ApplyResponse
	err := o.call(ctx, func(ctx context.Context, c *client) (err error) {
		resp, err = c.admin.Apply(ctx, req)
		return err
	})
	if err != nil {
		return err
	}
	if err := o.print(resp, func(w io.Writer) { printApplied(w, resp, req.GetDryRun()) }); err != nil {
		return err
	}
	if err := failures(resp); err != nil {
		return err
	}
	if !wait.enabled || req.GetDryRun() {
		return nil
	}
	return o.wait(ctx, resp.GetRevisions(), wait.limit)
}

func printApplied(w io.Writer, resp *adminpb.ApplyResponse, dryRun bool) {
	verbs := map[adminpb.ApplyAction]string{
		adminpb.ApplyAction_APPLY_ACTION_CREATED:   "created",
		adminpb.ApplyAction_APPLY_ACTION_UPDATED:   "updated",
		adminpb.ApplyAction_APPLY_ACTION_UNCHANGED: "unchanged",
		adminpb.ApplyAction_APPLY_ACTION_FAILED:    "failed",
	}
	suffix := ""
	if dryRun {
		suffix = " (dry run)"
	}
	for _, obj := range resp.GetObjects() {
		ref := obj.GetObject()
		fmt.Fprintf(w, "%s %s/%s %s%s\n", ref.GetKind(), ref.GetNamespace(), ref.GetName(), verbs[obj.GetAction()], suffix)
		if obj.GetError() != "" {
			fmt.Fprintf(w, "  error: %s\n", obj.GetError())
		}
		for _, warning := range obj.GetWarnings() {
			fmt.Fprintf(w, "  warning: %s: %s\n", warning.GetField(), warning.GetMessage())
		}
	}
}

func failures(resp *adminpb.ApplyResponse) error {
	failed := 0
	for _, obj := range resp.GetObjects() {
		if obj.GetAction() == adminpb.ApplyAction_APPLY_ACTION_FAILED {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return codeError{exitConflict, errors.New(plural(failed, "object") + " could not be written; the others are in force")}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// waitFlags are the flags of commands that can wait for convergence.
type waitFlags struct {
	enabled bool
	limit   time.Duration
}

func (w *waitFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.enabled, "wait", false, "return when every affected, connected sidecar has applied the change")
	cmd.Flags().DurationVar(&w.limit, "wait-timeout", 30*time.Second, "how long --wait waits")
}
