package identity

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/grpc"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// named is how many sidecars a reason names; the rest is a number.
const named = 5

// distributorConvergence asks the distributor.
type distributorConvergence struct {
	client configpb.ConvergenceServiceClient
}

// NewConvergence asks the distributor at the other end of a connection.
func NewConvergence(conn grpc.ClientConnInterface) Convergence {
	return distributorConvergence{client: configpb.NewConvergenceServiceClient(conn)}
}

// Applied asks once.
func (d distributorConvergence) Applied(ctx context.Context, r model.Revision) (bool, string, error) {
	target := modelpb.VectorToProto(model.Vector{}.With(r))
	resp, err := d.client.GetConvergence(ctx, &configpb.GetConvergenceRequest{Target: target})
	if err != nil {
		return false, "", fmt.Errorf("ask the distributor about %s: %w", r, rpc.FaultOf(err))
	}
	c := resp.GetConvergence()
	if c.GetConverged() {
		return true, "", nil
	}
	return false, waitingFor(c), nil
}

// waitingFor says what a mesh that has not converged lacks.
func waitingFor(c *configpb.Convergence) string {
	var parts []string
	if c.GetCompiling() {
		parts = append(parts, "the distributor has not compiled the bundle")
	}
	if len(c.GetUnreachableReplicas()) > 0 {
		parts = append(parts, "replicas of the distributor do not answer: "+list(c.GetUnreachableReplicas()))
	}
	if len(c.GetBehind()) > 0 {
		parts = append(parts, "sidecars have not applied the bundle: "+list(c.GetBehind()))
	}
	if len(c.GetRefused()) > 0 {
		var names []string
		for _, r := range c.GetRefused() {
			names = append(names, r.GetSidecar())
		}
		parts = append(parts, "sidecars refuse the bundle: "+list(names))
	}
	if len(parts) == 0 {
		return "the mesh has not converged"
	}
	return strings.Join(parts, "; ")
}

func list(names []string) string {
	if len(names) <= named {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:named], ", "), len(names)-named)
}
