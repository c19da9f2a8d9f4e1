package identity

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc/metadata"

	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// gatewayService is the service that has found out who asks already, and that they may.
const gatewayService = "gateway"

// Register adds the methods and says who may call each.
func (s *Service) Register(r *rpc.Registrar) {
	identitypb.RegisterIdentityServiceServer(r, s)
	administrators := rpc.Either(rpc.Services(gatewayService), s.bearer)
	for method, rule := range map[string]rpc.Allow{
		identitypb.IdentityService_IssueX509SVID_FullMethodName:     rpc.Anyone(), // it asks for a proof itself
		identitypb.IdentityService_GetBundle_FullMethodName:         rpc.Anyone(), // the bundle is public
		identitypb.IdentityService_JoinHost_FullMethodName:          rpc.Anyone(), // it asks for a proof itself
		identitypb.IdentityService_CreateHostToken_FullMethodName:   administrators,
		identitypb.IdentityService_WatchBundles_FullMethodName:      verified,
		identitypb.IdentityService_CreateJoinToken_FullMethodName:   administrators,
		identitypb.IdentityService_CreateAdminToken_FullMethodName:  administrators,
		identitypb.IdentityService_ListAdminTokens_FullMethodName:   administrators,
		identitypb.IdentityService_DeleteAdminToken_FullMethodName:  administrators,
		identitypb.IdentityService_AuthenticateToken_FullMethodName: rpc.Services(gatewayService),
		identitypb.IdentityService_ResolveGrants_FullMethodName:     rpc.Services(gatewayService),
		identitypb.IdentityService_CreateRoleBinding_FullMethodName: rpc.Services(gatewayService),
		identitypb.IdentityService_UpdateRoleBinding_FullMethodName: rpc.Services(gatewayService),
		identitypb.IdentityService_GetRoleBinding_FullMethodName:    rpc.Services(gatewayService),
		identitypb.IdentityService_ListRoleBindings_FullMethodName:  rpc.Services(gatewayService),
		identitypb.IdentityService_DeleteRoleBinding_FullMethodName: rpc.Services(gatewayService),
	} {
		r.Allow(method, rule)
	}
}

// verified allows every identity of the trust domain.
func verified(_ context.Context, c rpc.Caller) error {
	if c.Anonymous() {
		return errors.New("the caller has no verified identity")
	}
	return nil
}

// bearer allows who presents an administrator's token as `authorization: Bearer <token>`, whatever their certificate.
func (s *Service) bearer(ctx context.Context, _ rpc.Caller) error {
	secret, ok := bearerOf(ctx)
	if !ok {
		return errors.New("the call carries no administrator's bearer token")
	}
	token, err := s.adminTokens.authenticate(ctx, secret)
	if err != nil {
		return err
	}
	if token.GetHost() != nil {
		return errors.New("the bearer token is a host's credential, which works at the gateway only")
	}
	if !administrates(token) { // other roles are judged by the gateway, which knows what a call is about
		return errors.New("the bearer token is not an administrator's; others call the gateway")
	}
	return nil
}

func bearerOf(ctx context.Context) (string, bool) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, secret, ok := strings.Cut(values[0], " ")
	return secret, ok && strings.EqualFold(scheme, "bearer")
}

// principal names who asked, for records and logs: the id of an administrator's token. The rule has authenticated it.
func (s *Service) principal(ctx context.Context) string {
	if c := rpc.CallerFrom(ctx); c.Principal != "" {
		return c.Principal
	}
	secret, ok := bearerOf(ctx)
	if !ok {
		return ""
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(secret, adminPrefix), ".")
	return id
}
