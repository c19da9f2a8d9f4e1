package credential

import (
	"context"
	"crypto/x509"
	"time"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/gateway/access"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// tokenPrefix is what tokens of this mesh begin with.
const tokenPrefix = "weft-admin."

// token asks identity for a token of this mesh.
func (a *Authenticator) token(ctx context.Context, secret string) (confirmed, error) {
	client, err := a.client()
	if err != nil {
		return confirmed{}, err
	}
	resp, err := client.AuthenticateToken(ctx, &identitypb.AuthenticateTokenRequest{Secret: secret})
	switch err = rpc.FaultOf(err); {
	case fault.Is(err, fault.Anonymous) || fault.Is(err, fault.Invalid):
		return confirmed{}, fault.New(fault.Anonymous, "the bearer token is not known, has expired or was revoked")
	case err != nil:
		return confirmed{}, err
	}
	token := resp.GetAdminToken()
	out := confirmed{who: access.Principal{ID: token.GetId(), Credential: adminpb.Credential_CREDENTIAL_TOKEN}}
	switch host := token.GetHost(); {
	case host != nil:
		out.who.Credential, out.who.Host = adminpb.Credential_CREDENTIAL_HOST, &access.Host{Name: host.GetHost(), Accounts: host.GetAccounts()}
		if len(host.GetNamespaces()) > 0 { // none would be all of them
			out.who.Grants = []model.Grant{{Role: model.RoleOperator, Namespaces: host.GetNamespaces()}}
		}
	case token.GetGrant() != nil:
		out.who.Grants = read([]*identitypb.Grant{token.GetGrant()})
	default: // of an identity service from before there were roles
		out.who.Grants = []model.Grant{{Role: model.RoleAdministrator}}
	}
	if token.GetExpireTime() != nil {
		out.ends = token.GetExpireTime().AsTime()
	}
	return out, nil
}

// svid verifies a client's chain again, because a connection may outlive its certificate and the bundle, and asks for the
// bindings of its SPIFFE ID.
func (a *Authenticator) svid(ctx context.Context, chain []*x509.Certificate) (confirmed, error) {
	id, err := spiffe.PeerID(a.deps.Trust, chain)
	if err == nil {
		err = spiffe.AnyMember(a.deps.Trust)(id)
	}
	if err != nil {
		return confirmed{}, fault.Wrap(fault.Anonymous, err, "the client certificate is not good")
	}
	grants, err := a.resolve(ctx, model.Subject{Kind: model.SubjectSPIFFE, Value: id.String()})
	if err != nil {
		return confirmed{}, err
	}
	who := access.Principal{ID: id.String(), Credential: adminpb.Credential_CREDENTIAL_SVID, Grants: grants}
	return confirmed{who: who, ends: chain[0].NotAfter}, nil
}

// oidc verifies a token of the OIDC issuer and asks for the bindings of its subject and groups.
func (a *Authenticator) oidc(ctx context.Context, raw string) (confirmed, error) {
	if a.deps.OIDC == nil {
		return confirmed{}, fault.New(fault.Anonymous, "the bearer token is none of this mesh, and the gateway knows no OIDC issuer (--oidc-issuer)")
	}
	claims, err := a.deps.OIDC.Verify(ctx, raw)
	if err != nil {
		return confirmed{}, err
	}
	subjects := []model.Subject{{Kind: model.SubjectOIDC, Value: claims.Subject}}
	for _, group := range claims.Groups {
		subjects = append(subjects, model.Subject{Kind: model.SubjectOIDCGroup, Value: group})
	}
	grants, err := a.resolve(ctx, subjects...)
	if err != nil {
		return confirmed{}, err
	}
	who := access.Principal{ID: claims.Subject, Credential: adminpb.Credential_CREDENTIAL_OIDC, Grants: grants}
	return confirmed{who: who, ends: claims.Expiry}, nil
}

// resolve asks identity for what the bindings give.
func (a *Authenticator) resolve(ctx context.Context, subjects ...model.Subject) ([]model.Grant, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	req := &identitypb.ResolveGrantsRequest{}
	for _, s := range subjects {
		req.Subjects = append(req.Subjects, modelpb.SubjectToProto(s))
	}
	resp, err := client.ResolveGrants(ctx, req)
	if err != nil {
		return nil, rpc.FaultOf(err)
	}
	return read(resp.GetGrants()), nil
}

// read decodes grants. One of a role that this gateway does not know yet gives nothing: never guess at permission.
func read(in []*identitypb.Grant) []model.Grant {
	var out []model.Grant
	for _, p := range in {
		grant, err := modelpb.GrantFromProto(p)
		if err != nil || len(grant.Validate("")) > 0 {
			continue
		}
		out = append(out, grant)
	}
	return out
}

// Claims are what an OIDC token says of its holder.
type Claims struct {
	Subject string
	Groups  []string
	Expiry  time.Time
}
