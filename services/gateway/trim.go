package gateway

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
)

// trim takes out of an answer what lies in namespaces that the caller may not see. Lists of objects and edges need none: the
// services that own them are told which namespaces to look at, so that their pages are full.
func trim(ctx context.Context, m method, answer *frame) error {
	namespaces, all := callerOf(ctx).Namespaces()
	if all {
		return nil
	}
	sees := func(name string) bool {
		namespace, _, _ := strings.Cut(name, "/")
		return slices.Contains(namespaces, namespace)
	}
	if !trims(m) {
		return nil
	}
	message := m.output.New().Interface()
	if err := proto.Unmarshal(answer.data, message); err != nil {
		return fault.Wrap(fault.Internal, err, "decode the answer")
	}
	switch r := message.(type) {
	case *configpb.ListSidecarsResponse:
		r.Sidecars = sidecarsOf(r.GetSidecars(), sees)
	case *configpb.GetConvergenceResponse:
		trimConvergence(r.GetConvergence(), sees)
	case *configpb.WatchConvergenceResponse:
		trimConvergence(r.GetConvergence(), sees)
	}
	var err error
	answer.data, err = proto.Marshal(message)
	return err
}

// trims says whether answers of a method are cut here.
func trims(m method) bool {
	switch m.output.Descriptor().FullName() {
	case (&configpb.ListSidecarsResponse{}).ProtoReflect().Descriptor().FullName(),
		(&configpb.GetConvergenceResponse{}).ProtoReflect().Descriptor().FullName(),
		(&configpb.WatchConvergenceResponse{}).ProtoReflect().Descriptor().FullName():
		return true
	}
	return false
}

// trimConvergence keeps the counts, which are of the whole mesh, and the names that the caller may see.
func trimConvergence(c *configpb.Convergence, sees func(string) bool) {
	if c == nil {
		return
	}
	hidden := func(name string) bool { return !sees(name) }
	c.Behind = slices.DeleteFunc(c.GetBehind(), hidden)
	c.Away = slices.DeleteFunc(c.GetAway(), hidden)
	c.Refused = slices.DeleteFunc(c.GetRefused(), func(r *configpb.Refusal) bool { return hidden(r.GetSidecar()) })
}

// sidecarsOf keeps those in namespaces that the caller may see.
func sidecarsOf(all []*configpb.SidecarStatus, sees func(string) bool) []*configpb.SidecarStatus {
	return slices.DeleteFunc(all, func(c *configpb.SidecarStatus) bool { return !sees(c.GetNamespace()) })
}

// seen says which namespaces the caller of a context may see.
func seen(ctx context.Context) func(namespace string) bool {
	namespaces, all := callerOf(ctx).Namespaces()
	return func(namespace string) bool { return all || slices.Contains(namespaces, namespace) }
}
