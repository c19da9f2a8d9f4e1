package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"

	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/buildinfo"
)

func configCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Show the settings of the mesh, with the defaults of those that nobody set",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.call(cmd.Context(), func(ctx context.Context, c *client) error {
				resp, err := c.policy.GetMeshConfig(ctx, &policypb.GetMeshConfigRequest{Namespace: "default", Name: "default"})
				if err != nil && code(err) != codes.NotFound {
					return err
				}
				spec := effective(resp.GetMeshConfig().GetSpec())
				return o.print(spec, func(w io.Writer) { printConfig(w, spec) })
			})
		},
	}
}

// effective fills in what the proto documents as defaults.
func effective(set *policypb.MeshConfigSpec) *policypb.MeshConfigSpec {
	spec := &policypb.MeshConfigSpec{
		Mtls:        typepb.MtlsMode_MTLS_MODE_PERMISSIVE,
		Access:      typepb.AccessDefault_ACCESS_DEFAULT_ALLOW,
		Balancing:   typepb.Balancing_BALANCING_PEAK_EWMA,
		RetryBudget: &policypb.RetryBudget{Percent: 20, MinPerSecond: 10},
		Egress:      typepb.EgressMode_EGRESS_MODE_OPEN,
	}
	if set.GetMtls() != 0 {
		spec.Mtls = set.GetMtls()
	}
	if set.GetAccess() != 0 {
		spec.Access = set.GetAccess()
	}
	if set.GetBalancing() != 0 {
		spec.Balancing = set.GetBalancing()
	}
	if set.GetRetryBudget() != nil {
		spec.RetryBudget = set.GetRetryBudget()
	}
	switch {
	case set.GetEgress() != 0:
		spec.Egress = set.GetEgress()
	case spec.GetMtls() == typepb.MtlsMode_MTLS_MODE_STRICT:
		spec.Egress = typepb.EgressMode_EGRESS_MODE_STRICT
	}
	return spec
}

func printConfig(w io.Writer, s *policypb.MeshConfigSpec) {
	table(w, [][]string{
		{"SETTING", "VALUE"},
		{"mtls", enum(s.GetMtls().String(), "MTLS_MODE_")},
		{"access", enum(s.GetAccess().String(), "ACCESS_DEFAULT_")},
		{"balancing", enum(s.GetBalancing().String(), "BALANCING_")},
		{"egress", enum(s.GetEgress().String(), "EGRESS_MODE_")},
		{"retryBudget", fmt.Sprintf("%d %% and %d a second", s.GetRetryBudget().GetPercent(), s.GetRetryBudget().GetMinPerSecond())},
	})
}

// enum is an enum value as manifests write it.
func enum(value, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(value, prefix))
}

func versionCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program",
		Args:  cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			fmt.Fprintln(o.streams.Out, "weft", buildinfo.Version())
		},
	}
}
