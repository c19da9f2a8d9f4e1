package access

import (
	"fmt"
	"slices"
	"strings"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
)

// Principal is a caller whose credential has been verified.
type Principal struct {
	// ID of a token, SPIFFE ID, or OIDC subject.
	ID string
	// Credential says which.
	Credential adminpb.Credential
	// Grants add up.
	Grants []model.Grant
	// Host keeps a host's credential to what hosts need; nil: it is none.
	Host *Host
}

// Same says whether it is the same caller who may do the same.
func (p Principal) Same(o Principal) bool {
	return p.ID == o.ID && p.Credential == o.Credential && p.Host.same(o.Host) && slices.EqualFunc(p.Grants, o.Grants, func(a, b model.Grant) bool {
		return a.Role == b.Role && slices.Equal(a.Namespaces, b.Namespaces)
	})
}

// In is the highest role that the caller has in a namespace.
func (p Principal) In(namespace string) model.Role {
	return p.highest(func(g model.Grant) bool { return g.In(namespace) })
}

// Everywhere is the highest role that the caller has in every namespace, present and future.
func (p Principal) Everywhere() model.Role {
	return p.highest(func(g model.Grant) bool { return len(g.Namespaces) == 0 })
}

// Anywhere is the highest role that the caller has in some namespace.
func (p Principal) Anywhere() model.Role { return p.highest(func(model.Grant) bool { return true }) }

func (p Principal) highest(counts func(model.Grant) bool) model.Role {
	role := model.RoleNone
	for _, g := range p.Grants {
		if counts(g) {
			role = max(role, g.Role)
		}
	}
	return role
}

// Namespaces are those that the caller may see, in order; none, with all true: every one.
func (p Principal) Namespaces() (namespaces []string, all bool) {
	if p.Everywhere() >= model.RoleViewer {
		return nil, true
	}
	for _, g := range p.Grants {
		if g.Role >= model.RoleViewer {
			namespaces = append(namespaces, g.Namespaces...)
		}
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces), false
}

// String says who it is and what it may do, for messages.
func (p Principal) String() string {
	if p.Host != nil {
		return fmt.Sprintf("host %q (%s)", p.Host.Name, Describe(p.Grants))
	}
	kind := map[adminpb.Credential]string{
		adminpb.Credential_CREDENTIAL_TOKEN: "token", adminpb.Credential_CREDENTIAL_SVID: "SVID", adminpb.Credential_CREDENTIAL_OIDC: "OIDC subject",
	}[p.Credential]
	return fmt.Sprintf("%s %q (%s)", kind, p.ID, Describe(p.Grants))
}

// Describe says what grants give, for messages.
func Describe(grants []model.Grant) string {
	if len(grants) == 0 {
		return "no role"
	}
	var out []string
	for _, g := range grants {
		text := g.Role.String()
		if len(g.Namespaces) > 0 {
			text += " of " + strings.Join(g.Namespaces, ", ")
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}
