package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/manifest"
)

func getCommand(o *options) *cobra.Command {
	var all bool
	var filter string
	cmd := &cobra.Command{
		Use:   "get KIND [NAME]",
		Short: "Show objects as they are stored",
		Long: `Show one object or all objects of a kind: services, workloads, routes, accesspolicies, meshconfigs,
externalservices, rolebindings.
With -o yaml the output can be edited and given back to weft apply. A filter is an expression over name, ns (its
namespace), labels and object, in the Common Expression Language.`,
		Example: "  weft get routes\n  weft get route reviews-canary -o yaml\n  weft get services --filter 'labels[\"team\"] == \"shop\"'",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, err := findKind(args[0])
			if err != nil {
				return err
			}
			return o.call(cmd.Context(), func(ctx context.Context, c *client) error {
				if len(args) == 2 {
					obj, err := k.get(ctx, c, o.namespace, args[1])
					if err != nil {
						return err
					}
					return o.printObjects([]object{obj}, true)
				}
				items, err := listAll(ctx, c, k, listQuery{namespace: namespaceOf(o, all), filter: filter})
				if err != nil {
					return err
				}
				return o.printObjects(items, false)
			})
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "objects of every namespace that the caller may see")
	cmd.Flags().StringVar(&filter, "filter", "", "only objects for which this expression is true")
	return cmd
}

func namespaceOf(o *options, all bool) string {
	if all {
		return ""
	}
	return o.namespace
}

// listAll follows the pages.
func listAll(ctx context.Context, c *client, k kind, q listQuery) ([]object, error) {
	var out []object
	for {
		items, next, err := k.list(ctx, c, q)
		if err != nil {
			return nil, err
		}
		out = append(out, items...)
		if next == "" {
			return out, nil
		}
		q.page = next
	}
}

func (o *options) printObjects(items []object, single bool) error {
	if o.output == "" {
		rows := [][]string{{"NAMESPACE", "NAME", "UPDATED", "SUMMARY"}}
		for _, item := range items {
			meta := item.GetMetadata()
			rows = append(rows, []string{meta.GetNamespace(), meta.GetName(), age(meta), summary(item)})
		}
		table(o.streams.Out, rows)
		return nil
	}
	if o.output == "yaml" {
		data, err := manifest.YAML(items...)
		if err == nil {
			_, err = o.streams.Out.Write(data)
		}
		return err
	}
	documents := make([]json.RawMessage, 0, len(items))
	for _, item := range items {
		data, err := manifest.JSON(item)
		if err != nil {
			return err
		}
		documents = append(documents, data)
	}
	if single {
		return o.printJSON(documents[0])
	}
	data, err := json.Marshal(map[string]any{"apiVersion": manifest.APIVersion, "kind": "List", "items": documents})
	if err != nil {
		return fmt.Errorf("print objects: %w", err)
	}
	return o.printJSON(data)
}

func age(meta *typepb.ObjectMeta) string {
	if meta.GetUpdateTime() == nil {
		return "-"
	}
	return meta.GetUpdateTime().AsTime().Local().Format("2006-01-02 15:04:05")
}

// summary is the spec on one line, so that a listing tells something about every kind.
func summary(item object) string {
	data, err := manifest.JSON(item)
	if err != nil {
		return "-"
	}
	var fields struct {
		Spec json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal(data, &fields); err != nil || len(fields.Spec) == 0 {
		return "-"
	}
	const limit = 100
	text := []rune(strings.ReplaceAll(string(fields.Spec), `"`, ""))
	if len(text) > limit {
		text = append(text[:limit-1], '…')
	}
	return string(text)
}

func deleteCommand(o *options) *cobra.Command {
	var wait waitFlags
	var files []string
	cmd := &cobra.Command{
		Use:   "delete KIND NAME | -f FILE...",
		Short: "Delete an object, or every object of some manifests",
		Args:  cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			targets, err := o.deleteTargets(args, files)
			if err != nil {
				return err
			}
			vector := &typepb.RevisionVector{}
			var missing error
			err = o.call(cmd.Context(), func(ctx context.Context, c *client) (err error) {
				missing, err = o.remove(ctx, c, targets, vector)
				return err
			})
			if err == nil && wait.enabled && len(vector.GetRevisions()) > 0 {
				err = o.wait(cmd.Context(), vector, wait.limit)
			}
			return cmp.Or(err, missing)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "file with manifests whose objects to delete; - is standard input")
	wait.add(cmd)
	return cmd
}

type deleteTarget struct {
	kind            kind
	namespace, name string
}

// remove deletes the targets. One that is not there stops nothing: the first such error comes back beside, the others are said.
func (o *options) remove(ctx context.Context, c *client, targets []deleteTarget, vector *typepb.RevisionVector) (missing, err error) {
	for _, t := range targets {
		rev, err := t.kind.remove(ctx, c, t.namespace, t.name, "")
		switch {
		case code(err) == codes.NotFound && missing == nil:
			missing = err
		case code(err) == codes.NotFound:
			fmt.Fprintf(o.streams.Err, "weft: %s\n", describe(err))
		case err != nil:
			return missing, err
		default:
			fmt.Fprintf(o.streams.Out, "%s %s/%s deleted\n", t.kind.name, t.namespace, t.name)
			advance(vector, rev)
		}
	}
	return missing, nil
}

func (o *options) deleteTargets(args, files []string) ([]deleteTarget, error) {
	switch {
	case len(files) == 0 && len(args) == 2:
		k, err := findKind(args[0])
		return []deleteTarget{{k, o.namespace, args[1]}}, err
	case len(files) > 0 && len(args) == 0:
		return o.manifestTargets(files)
	default:
		return nil, usageError{errors.New("give either KIND NAME or -f FILE")}
	}
}

// advance keeps the newest revision of each source.
func advance(v *typepb.RevisionVector, r *typepb.SourceRevision) {
	i := slices.IndexFunc(v.GetRevisions(), func(have *typepb.SourceRevision) bool { return have.GetSource() == r.GetSource() })
	switch {
	case r == nil:
	case i < 0:
		v.Revisions = append(v.Revisions, r)
	case v.Revisions[i].GetSeq() < r.GetSeq():
		v.Revisions[i] = r
	}
}

// manifestTargets names the objects of manifests.
func (o *options) manifestTargets(files []string) ([]deleteTarget, error) {
	text, err := readFiles(files, o.streams.In)
	if err != nil {
		return nil, err
	}
	objects, err := manifest.Parse([]byte(text))
	if err != nil {
		return nil, codeError{exitInvalid, err}
	}
	var out []deleteTarget
	for _, obj := range objects {
		k, err := findKind(manifest.KindOf(obj))
		if err != nil {
			return nil, codeError{exitInvalid, err}
		}
		ns := obj.GetMetadata().GetNamespace()
		if ns == "" {
			ns = o.namespace
		}
		out = append(out, deleteTarget{k, ns, obj.GetMetadata().GetName()})
	}
	return out, nil
}
