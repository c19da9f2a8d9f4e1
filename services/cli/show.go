package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
)

func servicesCommand(o *options) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "services",
		Short: "List services with the addresses that serve them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.call(cmd.Context(), func(ctx context.Context, c *client) error {
				return o.services(ctx, c, namespaceOf(o, all))
			})
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "services of every namespace")
	return cmd
}

func (o *options) services(ctx context.Context, c *client, namespace string) error {
	items, err := listAll(ctx, c, serviceKind(), listQuery{namespace: namespace})
	if err != nil {
		return err
	}
	all := &discoverypb.ListEndpointsResponse{}
	rows := [][]string{{"SERVICE", "UPSTREAM", "MESH", "WORKLOAD", "VERSION", "STATE"}}
	for _, item := range items {
		meta := item.GetMetadata()
		resp, err := c.discovery.ListEndpoints(ctx, &discoverypb.ListEndpointsRequest{Namespace: meta.GetNamespace(), Service: meta.GetName()})
		if err != nil {
			return err
		}
		name := meta.GetNamespace() + "/" + meta.GetName()
		if len(resp.GetEndpoints()) == 0 {
			rows = append(rows, []string{name, "<none>"})
		}
		for _, e := range resp.GetEndpoints() {
			rows = append(rows, endpointRow(name, e))
		}
		all.Endpoints = append(all.Endpoints, resp.GetEndpoints()...)
		all.Revision = resp.GetRevision()
	}
	return o.print(all, func(w io.Writer) { table(w, rows) })
}

func endpointRow(service string, e *discoverypb.Endpoint) []string {
	mesh := "no"
	if e.GetMeshPort() != 0 {
		mesh = strconv.Itoa(int(e.GetMeshPort()))
	}
	state := strings.ToLower(strings.TrimPrefix(e.GetState().String(), "WORKLOAD_STATE_"))
	return []string{service, fmt.Sprintf("%s:%d", e.GetAddress(), e.GetTargetPort()), mesh, e.GetWorkload(), orDash(e.GetLabels()["version"]), state}
}

func statusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how every component and sidecar is",
		Long: `Show every replica of every component, and of every sidecar whether it is connected, which revisions it has applied,
whether it is behind, when its identity runs out, and how long an outage of the control plane can last from now on.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.call(cmd.Context(), func(ctx context.Context, c *client) error {
				resp, err := c.admin.GetStatus(ctx, &adminpb.GetStatusRequest{})
				if err != nil {
					return err
				}
				return o.print(resp, func(w io.Writer) { printStatus(w, resp) })
			})
		},
	}
}

func printStatus(w io.Writer, s *adminpb.GetStatusResponse) {
	rows := [][]string{{"COMPONENT", "REPLICA", "STATE", "VERSION"}}
	for _, c := range s.GetComponents() {
		state := "ready"
		if !c.GetReady() {
			state = "not ready: " + c.GetMessage()
		}
		rows = append(rows, []string{c.GetComponent(), c.GetReplica(), state, orDash(c.GetBuildVersion())})
	}
	table(w, rows)
	fmt.Fprintln(w)
	now := s.GetReadTime().AsTime()
	rows = [][]string{{"SIDECAR", "STATE", "APPLIED", "SVID ENDS IN", "REPLICA"}}
	for _, sc := range s.GetSidecars() {
		rows = append(rows, []string{sc.GetNamespace() + "/" + sc.GetWorkload(), sidecarState(sc), vector(sc.GetApplied()), svidEnds(sc, now), orDash(sc.GetReplica())})
	}
	table(w, rows)
	fmt.Fprintf(w, "\ncompiled: %s\n", vector(s.GetCompiled()))
	if s.GetGuaranteedOutage() != nil {
		fmt.Fprintf(w, "an outage of the control plane can last %s before the first identity runs out (%s)\n",
			short(s.GetGuaranteedOutage().AsDuration()), s.GetLimitingSidecar())
	}
}

func sidecarState(s *configpb.SidecarStatus) string {
	switch {
	case !s.GetConnected():
		return "away"
	case len(s.GetNacks()) > 0:
		return "refuses " + s.GetNacks()[0].GetResource()
	case s.GetBehind():
		return "behind"
	default:
		return "in sync"
	}
}

func svidEnds(s *configpb.SidecarStatus, now time.Time) string {
	if s.GetSvidExpireTime() == nil {
		return "-"
	}
	return short(s.GetSvidExpireTime().AsTime().Sub(now))
}

// vector is revisions on one line: policy@12 discovery@40.
func vector(v *typepb.RevisionVector) string {
	var parts []string
	for _, r := range v.GetRevisions() {
		source := strings.ToLower(strings.TrimPrefix(r.GetSource().String(), "SOURCE_"))
		parts = append(parts, fmt.Sprintf("%s@%d", source, r.GetSeq()))
	}
	return orDash(strings.Join(parts, " "))
}
