package modelpb

import (
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

const roles = "viewer, operator or administrator"

// GrantFromProto reads a grant; an unknown role is a violation of path "role". Nil is no grant at all.
func GrantFromProto(p *identitypb.Grant) (model.Grant, error) {
	var d decoder
	g := model.Grant{Role: d.role("role", p.GetRole()), Namespaces: texts(p.GetNamespaces())}
	return g, fault.InvalidFields("grant", d.problems)
}

// GrantToProto writes a grant.
func GrantToProto(g model.Grant) *identitypb.Grant {
	return &identitypb.Grant{Role: identitypb.Role(g.Role), Namespaces: texts(g.Namespaces)}
}

func (d *decoder) role(path string, r identitypb.Role) model.Role {
	return enum[model.Role](d, path, r, identitypb.Role_ROLE_ADMINISTRATOR, roles)
}

// RoleBindingFromProto reads a role binding.
func RoleBindingFromProto(p *identitypb.RoleBinding) (model.RoleBinding, error) {
	if p == nil {
		return model.RoleBinding{}, missing(model.KindRoleBinding)
	}
	var d decoder
	spec := p.GetSpec()
	b := model.RoleBinding{
		Meta: d.meta(p.GetMetadata()), Subject: SubjectFromProto(spec.GetSubject()),
		Grant: model.Grant{Role: d.role("spec.role", spec.GetRole()), Namespaces: texts(spec.GetNamespaces())},
	}
	return b, d.done(model.KindRoleBinding, b.Meta)
}

// RoleBindingToProto writes a role binding.
func RoleBindingToProto(b model.RoleBinding) *identitypb.RoleBinding {
	return &identitypb.RoleBinding{Metadata: metaToProto(b.Meta), Spec: &identitypb.RoleBindingSpec{
		Subject: SubjectToProto(b.Subject), Role: identitypb.Role(b.Grant.Role), Namespaces: texts(b.Grant.Namespaces),
	}}
}

// SubjectFromProto reads a subject; one without a field is the zero value.
func SubjectFromProto(p *identitypb.RoleSubject) model.Subject {
	switch s := p.GetSubject().(type) {
	case *identitypb.RoleSubject_SpiffeId:
		return model.Subject{Kind: model.SubjectSPIFFE, Value: s.SpiffeId}
	case *identitypb.RoleSubject_OidcSubject:
		return model.Subject{Kind: model.SubjectOIDC, Value: s.OidcSubject}
	case *identitypb.RoleSubject_OidcGroup:
		return model.Subject{Kind: model.SubjectOIDCGroup, Value: s.OidcGroup}
	}
	return model.Subject{}
}

// SubjectToProto writes a subject; the zero value is nil.
func SubjectToProto(s model.Subject) *identitypb.RoleSubject {
	switch s.Kind {
	case model.SubjectSPIFFE:
		return &identitypb.RoleSubject{Subject: &identitypb.RoleSubject_SpiffeId{SpiffeId: s.Value}}
	case model.SubjectOIDC:
		return &identitypb.RoleSubject{Subject: &identitypb.RoleSubject_OidcSubject{OidcSubject: s.Value}}
	case model.SubjectOIDCGroup:
		return &identitypb.RoleSubject{Subject: &identitypb.RoleSubject_OidcGroup{OidcGroup: s.Value}}
	}
	return nil
}
