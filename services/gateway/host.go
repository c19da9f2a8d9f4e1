package gateway

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

// hostMay says whether a host's credential is good for a method at all. What starts workloads, and what tells how they are:
// a host that was broken into must not be able to write policy.
func hostMay(method string) bool {
	switch method {
	case identitypb.IdentityService_CreateJoinToken_FullMethodName,
		identitypb.IdentityService_DeleteAdminToken_FullMethodName,
		adminpb.AdminService_GetStatus_FullMethodName,
		adminpb.AdminService_CheckMesh_FullMethodName,
		discoverypb.DiscoveryService_GetService_FullMethodName,
		discoverypb.DiscoveryService_ListServices_FullMethodName,
		discoverypb.DiscoveryService_ListEndpoints_FullMethodName,
		configpb.ConvergenceService_GetConvergence_FullMethodName,
		configpb.ConvergenceService_WatchConvergence_FullMethodName:
		return true
	}
	return false
}

// judgeHost says what a host's credential is not good for. It needs the request of those methods only that are about some
// accounts; nil judges the method alone. Who is no host passes.
func judgeHost(who principal, method string, request proto.Message) error {
	host := who.host
	if host == nil {
		return nil
	}
	if !hostMay(method) {
		return fault.New(fault.Denied, "the credential of host %q is not good for %s; ask an administrator", host.GetHost(),
			method[strings.LastIndexByte(method, '/')+1:])
	}
	switch r := request.(type) {
	case *identitypb.CreateJoinTokenRequest: // for workloads of its own
		namespace := cmp.Or(r.GetNamespace(), model.DefaultNamespace)
		if !slices.Contains(host.GetNamespaces(), namespace) {
			return fault.New(fault.Denied, "host %q may start workloads in %s, not in namespace %q", host.GetHost(), quoted(host.GetNamespaces()), namespace)
		}
		if accounts := host.GetAccounts(); len(accounts) > 0 && !slices.Contains(accounts, r.GetAccount()) {
			return fault.New(fault.Denied, "host %q may start workloads with the accounts %s, not %q", host.GetHost(), quoted(accounts), r.GetAccount())
		}
	case *identitypb.DeleteAdminTokenRequest: // it may give its own credential back
		if r.GetId() != who.id {
			return fault.New(fault.Denied, "host %q may delete its own credential %q only", host.GetHost(), who.id)
		}
	}
	return nil
}

func quoted(names []string) string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = strconv.Quote(name)
	}
	return strings.Join(out, ", ")
}

type callerKey struct{}

// withCaller remembers who calls for the hooks that see the request.
func withCaller(ctx context.Context, who principal) context.Context {
	return context.WithValue(ctx, callerKey{}, who)
}

func callerOf(ctx context.Context) principal {
	who, _ := ctx.Value(callerKey{}).(principal)
	return who
}

// beforeDeleteAdminToken judges what a host wants to delete.
func beforeDeleteAdminToken(ctx context.Context, request []byte) error {
	req := &identitypb.DeleteAdminTokenRequest{}
	if err := proto.Unmarshal(request, req); err != nil {
		return fault.Wrap(fault.Invalid, err, "decode the request")
	}
	return judgeHost(callerOf(ctx), identitypb.IdentityService_DeleteAdminToken_FullMethodName, req)
}
