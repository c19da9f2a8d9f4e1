package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	telemetrypb "github.com/weft-mesh/weft/gen/weft/telemetry/v1alpha1"
)

// topViews are the groupings that --by takes, with the columns that name a row.
func topViews() map[string]topView {
	return map[string]topView{
		"service": {telemetrypb.GroupBy_GROUP_BY_SERVICE, []string{"SOURCE", "SERVICE"}, func(e *telemetrypb.Edge) []string {
			return []string{orDash(e.GetSource()), orDash(e.GetService())}
		}},
		"workload": {telemetrypb.GroupBy_GROUP_BY_WORKLOAD, []string{"SOURCE WORKLOAD", "DESTINATION WORKLOAD"}, func(e *telemetrypb.Edge) []string {
			return []string{orDash(e.GetSourceWorkload()), orDash(e.GetDestinationWorkload())}
		}},
		"version": {telemetrypb.GroupBy_GROUP_BY_VERSION, []string{"SERVICE", "VERSION"}, func(e *telemetrypb.Edge) []string {
			return []string{orDash(e.GetService()), orDash(e.GetVersion())}
		}},
		"edge": {telemetrypb.GroupBy_GROUP_BY_UNSPECIFIED, []string{"SOURCE", "SERVICE", "DESTINATION WORKLOAD", "VERSION"}, func(e *telemetrypb.Edge) []string {
			return []string{orDash(e.GetSource()), orDash(e.GetService()), orDash(e.GetDestinationWorkload()), orDash(e.GetVersion())}
		}},
	}
}

type topView struct {
	group   telemetrypb.GroupBy
	columns []string
	row     func(*telemetrypb.Edge) []string
}

func topCommand(o *options) *cobra.Command {
	var by string
	var window, every time.Duration
	var all, cumulative bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show who talks to whom, how much and how well",
		Long: `Show requests, success rate and latency of every edge of the mesh over a window that ends now, busiest first. A request
counts once, where its client's sidecar counted it. A success is anything but a 5xx and a failure made by a proxy.`,
		Example: "  weft top\n  weft top --by version --window 2m\n  weft top --watch 2s",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			view, ok := topViews()[by]
			if !ok {
				return usageError{fmt.Errorf("--by %q: allowed are service, workload, version, edge", by)}
			}
			req := &telemetrypb.QueryEdgesRequest{Window: durationpb.New(window), GroupBy: view.group, Namespace: namespaceOf(o, all), Cumulative: cumulative}
			for {
				err := o.top(cmd.Context(), req, view, every > 0)
				switch {
				case every <= 0:
					return err
				case code(err) == codes.Unavailable:
					fmt.Fprintln(o.streams.Err, "the control plane does not answer; trying again")
				case err != nil:
					return err
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(every):
				}
			}
		},
	}
	f := cmd.Flags()
	f.StringVar(&by, "by", "service", "what a row is: service, workload, version or edge")
	f.DurationVar(&window, "window", 30*time.Second, "length of the window, at most 10m")
	f.DurationVar(&every, "watch", 0, "refresh this often until interrupted")
	f.BoolVarP(&all, "all-namespaces", "A", false, "edges of every namespace")
	f.BoolVar(&cumulative, "cumulative", false, "count since each sidecar's start instead of over a window")
	return cmd
}

func (o *options) top(ctx context.Context, req *telemetrypb.QueryEdgesRequest, view topView, clear bool) error {
	return o.call(ctx, func(ctx context.Context, c *client) error {
		resp, err := c.telemetry.QueryEdges(ctx, req)
		if err != nil {
			return err
		}
		return o.print(resp, func(w io.Writer) {
			if clear {
				fmt.Fprint(w, "\x1b[H\x1b[2J")
			}
			printTop(w, resp, view)
		})
	})
}

func printTop(w io.Writer, resp *telemetrypb.QueryEdgesResponse, view topView) {
	if len(resp.GetRows()) == 0 {
		fmt.Fprintln(w, "no traffic in the window")
		return
	}
	rows := [][]string{append(slices.Clone(view.columns), "PROTO", "SUCCESS", "RPS", "REQUESTS", "P50", "P90", "P99", "ACTIVE", "RETRIES", "FAILURES")}
	for _, r := range resp.GetRows() {
		rows = append(rows, append(view.row(r.GetEdge()),
			orDash(r.GetEdge().GetProtocol()), successRate(r), fmt.Sprintf("%.1f", r.GetRequestsPerSecond()), fmt.Sprint(r.GetRequests()),
			short(r.GetP50().AsDuration()), short(r.GetP90().AsDuration()), short(r.GetP99().AsDuration()),
			active(r), fmt.Sprint(r.GetRetries()), reasons(r.GetFailures())))
	}
	table(w, rows)
	list(w, "telemetry replicas that did not answer", resp.GetUnreachableReplicas())
}

// active is the number of open connections or sessions, where a row has such.
func active(r *telemetrypb.EdgeRow) string {
	switch r.GetEdge().GetProtocol() {
	case "tcp", "udp":
		return fmt.Sprint(r.GetActive())
	}
	return "-"
}

func successRate(r *telemetrypb.EdgeRow) string {
	if r.GetRequests() == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f%%", 100*float64(r.GetSuccesses())/float64(r.GetRequests()))
}

func reasons(counts map[string]uint64) string {
	var parts []string
	for reason, n := range counts {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", reason, n))
		}
	}
	slices.Sort(parts)
	return orDash(strings.Join(parts, " "))
}
