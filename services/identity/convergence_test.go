package identity_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/identity"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// distributor is a connection to one that always answers the same.
type distributor struct {
	grpc.ClientConnInterface
	asked  *configpb.GetConvergenceRequest
	answer *configpb.Convergence
	err    error
}

func (d *distributor) Invoke(_ context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	if method != configpb.ConvergenceService_GetConvergence_FullMethodName {
		return errors.New("no other method is called")
	}
	d.asked = args.(*configpb.GetConvergenceRequest)
	if d.err != nil {
		return d.err
	}
	proto.Merge(reply.(proto.Message), &configpb.GetConvergenceResponse{Convergence: d.answer})
	return nil
}

func TestConvergence(t *testing.T) {
	tests := []struct {
		name   string
		answer *configpb.Convergence
		ok     bool
		says   string
	}{
		{"converged", &configpb.Convergence{Converged: true}, true, ""},
		{"not compiled", &configpb.Convergence{Compiling: true}, false, "the distributor has not compiled the bundle"},
		{"silent replica", &configpb.Convergence{UnreachableReplicas: []string{"b"}}, false, "replicas of the distributor do not answer: b"},
		{
			"many behind", &configpb.Convergence{Behind: strings.Split("a/1 a/2 a/3 a/4 a/5 a/6 a/7", " ")}, false,
			"sidecars have not applied the bundle: a/1, a/2, a/3, a/4, a/5 and 2 more",
		},
		{"refused", &configpb.Convergence{Refused: []*configpb.Refusal{{Sidecar: "a/1"}}}, false, "sidecars refuse the bundle: a/1"},
		{"no reason", &configpb.Convergence{}, false, "the mesh has not converged"},
	}
	want := model.Revision{Source: model.SourceIdentity, Epoch: "e", Seq: 7}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := &distributor{answer: tt.answer}
			ok, says, err := identity.NewConvergence(d).Applied(t.Context(), want)
			if err != nil || ok != tt.ok || says != tt.says {
				t.Errorf("got %v, %q (%v), want %v, %q", ok, says, err, tt.ok, tt.says)
			}
			target, err := modelpb.VectorFromProto(d.asked.GetTarget())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]model.Revision{want}, target.Revisions()); diff != "" {
				t.Errorf("asked about (-want +got):\n%s", diff)
			}
		})
	}
	d := &distributor{err: status.Error(codes.Unavailable, "nobody is there")}
	if _, _, err := identity.NewConvergence(d).Applied(t.Context(), want); !fault.Is(err, fault.Unavailable) {
		t.Errorf("error is %v, want Unavailable", err)
	}
}
