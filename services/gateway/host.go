package gateway

import (
	"cmp"
	"context"
	"fmt"
	"slices"
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

type hostKey struct{}

// admitHost refuses a host what its credential is not good for at all, and remembers who it is for the hooks that see the
// request. Administrators pass.
func admitHost(ctx context.Context, who principal, method string) (context.Context, error) {
	if who.host == nil {
		return ctx, nil
	}
	if !hostMay(method) {
		return ctx, fault.New(fault.Denied, "the credential of host %q is not good for %s; ask an administrator", who.host.GetHost(),
			method[strings.LastIndexByte(method, '/')+1:])
	}
	return context.WithValue(ctx, hostKey{}, who), nil
}

// checkHostJoin refuses a host tokens for accounts that are not those of its workloads.
func checkHostJoin(ctx context.Context, req *identitypb.CreateJoinTokenRequest) error {
	who, ok := ctx.Value(hostKey{}).(principal)
	if !ok {
		return nil
	}
	namespace := cmp.Or(req.GetNamespace(), model.DefaultNamespace)
	if !slices.Contains(who.host.GetNamespaces(), namespace) {
		return fault.New(fault.Denied, "host %q may start workloads in %s, not in namespace %q", who.host.GetHost(), quoted(who.host.GetNamespaces()), namespace)
	}
	if accounts := who.host.GetAccounts(); len(accounts) > 0 && !slices.Contains(accounts, req.GetAccount()) {
		return fault.New(fault.Denied, "host %q may start workloads with the accounts %s, not %q", who.host.GetHost(), quoted(accounts), req.GetAccount())
	}
	return nil
}

// beforeDeleteAdminToken lets a host give its own credential back, and no other.
func beforeDeleteAdminToken(ctx context.Context, request []byte) error {
	who, ok := ctx.Value(hostKey{}).(principal)
	if !ok {
		return nil
	}
	req := &identitypb.DeleteAdminTokenRequest{}
	if err := proto.Unmarshal(request, req); err != nil {
		return fault.Wrap(fault.Invalid, err, "decode the request")
	}
	if req.GetId() != who.id {
		return fault.New(fault.Denied, "host %q may delete its own credential %q only", who.host.GetHost(), who.id)
	}
	return nil
}

func quoted(names []string) string {
	return strings.Join(strings.Split(strings.Trim(fmt.Sprintf("%q", names), "[]"), " "), ", ")
}
