package access

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/internal/spiffe"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

// Where says in which namespaces a method needs its role. The zero value is no rule: nobody may call.
type Where uint8

// The places.
const (
	nowhere Where = iota
	// OfObject: in the namespace of every object that the request is about.
	OfObject
	// OfFilter: in the namespace that the request names; when it names none, somewhere, and the answer is trimmed to it.
	OfFilter
	// Somewhere: in some namespace; the answer is trimmed to it.
	Somewhere
	// Shared: in some namespace; what is answered is everybody's, whatever namespace it lies in.
	Shared
	// WholeMesh: in every namespace.
	WholeMesh
)

// Rule is who may call a method.
type Rule struct {
	Role  model.Role
	Where Where
	// Kind of the objects that the method is about, as in manifests where there is one.
	Kind string
	// Hosts says what the method is good for to a host's credential.
	Hosts Hosts
}

// Judge says why a caller may not make a request about some objects, or nil.
func (r Rule) Judge(p Principal, method string, objects []Object) error {
	refuse := func(need string) error {
		return fault.New(fault.Denied, "%s may not call %s: it needs %s", p, short(method), need)
	}
	if p.Host != nil {
		if done, err := r.judgeHost(p, method, objects); done || err != nil {
			return err
		}
	}
	switch {
	case len(p.Grants) == 0:
		return fault.New(fault.Denied, "%s may not call %s: an administrator gives roles to SVIDs and OIDC subjects by a RoleBinding", p, short(method))
	case r.Where == nowhere || r.Role == model.RoleNone:
		return fault.New(fault.Denied, "nobody may call %s through the gateway", short(method))
	case p.Anywhere() < r.Role:
		return refuse("role " + r.Role.String())
	case r.Where == WholeMesh && p.Everywhere() < r.Role:
		return refuse("role " + r.Role.String() + " in every namespace")
	case r.Where == Somewhere || r.Where == Shared || r.Where == WholeMesh || r.Where == OfFilter && len(objects) == 0:
		return nil
	case len(objects) == 0 && p.Everywhere() < r.Role:
		return refuse("to say what it is about")
	}
	var missing []string
	for _, o := range objects {
		if need := o.need(r.Role); p.In(o.Namespace) < need {
			missing = append(missing, fmt.Sprintf("role %s in namespace %q for %s", need, o.Namespace, o))
		}
	}
	if len(missing) > 0 {
		return refuse(strings.Join(missing, "; "))
	}
	return nil
}

// short is a method's name without its package.
func short(method string) string { return method[strings.LastIndexByte(method, '.')+1:] }

// Object is one object that a request is about.
type Object struct {
	Kind, Namespace, Name string
	// Role that is needed for it beyond that of the method.
	Role model.Role
}

// String is how people name it.
func (o Object) String() string {
	if o.Name == "" {
		return o.Kind
	}
	return fmt.Sprintf("%s %s/%s", o.Kind, o.Namespace, o.Name)
}

// need is the role that something needs about the object: whoever may change what is in the control plane's own namespace is
// an administrator.
func (o Object) need(role model.Role) model.Role {
	if role >= model.RoleOperator && o.Namespace == spiffe.SystemNamespace {
		return model.RoleAdministrator
	}
	return max(role, o.Role)
}

// ToWrite is the role that writing an object of a kind needs.
func ToWrite(kind string) model.Role {
	switch kind {
	case model.KindService, model.KindWorkload, model.KindRoute, model.KindAccessPolicy, model.KindExternalService:
		return model.RoleOperator
	default: // what concerns the whole mesh, and what nobody has thought of
		return model.RoleAdministrator
	}
}
