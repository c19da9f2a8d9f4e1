package model

import (
	"slices"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Role is what a person or program may do; numbered as on the wire, each with all that the one before it has.
type Role uint8

// The roles.
const (
	RoleNone Role = iota
	RoleViewer
	RoleOperator
	RoleAdministrator
)

// String is the role as in manifests and on the command line.
func (r Role) String() string {
	switch r {
	case RoleViewer:
		return "viewer"
	case RoleOperator:
		return "operator"
	case RoleAdministrator:
		return "administrator"
	default:
		return "none"
	}
}

// Grant is a role in some namespaces.
type Grant struct {
	Role Role
	// Namespaces in which it holds; none: in all.
	Namespaces []string
}

// In says whether the grant holds in a namespace.
func (g Grant) In(namespace string) bool {
	return len(g.Namespaces) == 0 || slices.Contains(g.Namespaces, namespace)
}

// maxGrantNamespaces bounds the namespaces of one grant.
const maxGrantNamespaces = 256

// Validate lists the rules that a grant breaks; prefix comes before the paths, "spec." for example.
func (g Grant) Validate(prefix string) []Violation {
	var v violations
	if g.Role < RoleViewer || g.Role > RoleAdministrator {
		v.add(prefix+"role", "must be viewer, operator or administrator")
	}
	if g.Role == RoleAdministrator && len(g.Namespaces) > 0 {
		v.add(prefix+"namespaces", "must be left out: an administrator is one everywhere; operator is the role with namespaces")
	}
	if len(g.Namespaces) > maxGrantNamespaces {
		v.add(prefix+"namespaces", "has %d namespaces; at most %d are allowed", len(g.Namespaces), maxGrantNamespaces)
	}
	for i, namespace := range g.Namespaces {
		at := index(prefix+"namespaces", i)
		v.label(at, namespace)
		if slices.Contains(g.Namespaces[:i], namespace) {
			v.add(at, "%q is listed twice", clip(namespace))
		}
	}
	return v
}

// SubjectKind is by what somebody is known.
type SubjectKind uint8

// The kinds of subjects.
const (
	SubjectUnset SubjectKind = iota
	SubjectSPIFFE
	SubjectOIDC
	SubjectOIDCGroup
)

// Subject is whom a role binding is for. It is comparable.
type Subject struct {
	Kind  SubjectKind
	Value string
}

// RoleBinding gives a role to a subject.
type RoleBinding struct {
	Meta
	Subject Subject
	Grant   Grant
}

const maxSubject = 2048

// Validate lists the rules that a role binding breaks.
func (b *RoleBinding) Validate() []Violation {
	var v violations
	v.meta(&b.Meta)
	if b.Namespace != DefaultNamespace {
		v.add("metadata.namespace", "%q is not allowed; role bindings are of the whole mesh and lie in namespace %s", clip(b.Namespace), DefaultNamespace)
	}
	text := func(path string) {
		if b.Subject.Value == "" || len(b.Subject.Value) > maxSubject || !isText(b.Subject.Value) {
			v.add(path, "must be text of 1 to %d bytes without control characters", maxSubject)
		}
	}
	switch b.Subject.Kind {
	case SubjectSPIFFE:
		if _, err := spiffeid.FromString(b.Subject.Value); err != nil {
			v.add("spec.subject.spiffeId", "%q is no SPIFFE ID: %v", clip(b.Subject.Value), err)
		}
	case SubjectOIDC:
		text("spec.subject.oidcSubject")
	case SubjectOIDCGroup:
		text("spec.subject.oidcGroup")
	default:
		v.add("spec.subject", "needs one of spiffeId, oidcSubject and oidcGroup")
	}
	return append(v, b.Grant.Validate("spec.")...)
}
