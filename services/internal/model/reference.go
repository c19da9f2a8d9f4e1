package model

import "fmt"

// Reference is a field of an object that names another object.
type Reference struct {
	// Path of the field.
	Path string
	// Kind and key of the object that it names.
	Kind string
	Key  Key
	// Reason is what traffic fails with while there is no such object; empty when no traffic depends on it.
	Reason string
}

// References lists the services that a route names.
func (r *Route) References() []Reference {
	refs := []Reference{{"spec.service", KindService, Key{r.Namespace, r.Service}, "no_route"}}
	for i, rule := range r.Rules {
		for j, b := range rule.Backends {
			path := index(index("spec.rules", i)+".backends", j) + ".service"
			refs = append(refs, Reference{path, KindService, Key{r.Namespace, b.Service}, "no_backend"})
		}
	}
	return refs
}

// References lists the services that a workload wants to serve.
func (w *Workload) References() []Reference {
	var refs []Reference
	for i, name := range w.Services {
		refs = append(refs, Reference{index("spec.services", i), KindService, Key{w.Namespace, name}, ""})
	}
	return refs
}

// Unresolved turns the references whose object does not exist into warnings. Such references are accepted: the object may
// come later, and until then the traffic fails.
func Unresolved(refs []Reference, exists func(kind string, key Key) bool) []Violation {
	var v violations
	for _, r := range refs {
		switch {
		case exists(r.Kind, r.Key):
		case r.Reason == "":
			v.add(r.Path, "there is no %s %q", r.Kind, r.Key)
		default:
			v.add(r.Path, "there is no %s %q; traffic for it fails with %s until there is", r.Kind, r.Key, r.Reason)
		}
	}
	return v
}

// Precedes says whether r wins over o when both are for one service: the older one does, then the lower name.
func (r *Route) Precedes(o *Route) bool {
	if !r.CreateTime.Equal(o.CreateTime) {
		return r.CreateTime.Before(o.CreateTime)
	}
	return r.Key.Less(o.Key)
}

// Overlaps warns about the other routes for the same service, and says which one holds.
func (r *Route) Overlaps(others []Route) []Violation {
	winner := r
	var rivals int
	for i := range others {
		o := &others[i]
		if o.Namespace != r.Namespace || o.Service != r.Service || o.Key == r.Key {
			continue
		}
		rivals++
		if o.Precedes(winner) {
			winner = o
		}
	}
	if rivals == 0 {
		return nil
	}
	return []Violation{{"spec.service", fmt.Sprintf("%d other route(s) are for service %q too; only route %q holds, being the oldest", rivals, r.Service, winner.Name)}}
}

// Idle returns what allows less than its author may think: a rule without sources lets nobody in, and a policy without rules lets
// nothing through.
func (p *AccessPolicy) Idle() []Violation {
	if len(p.Allow) == 0 {
		return []Violation{{"spec.allow", "is empty: nothing passes to account \"" + p.Account + "\" by this policy"}}
	}
	var out []Violation
	for i, r := range p.Allow {
		if len(r.From) == 0 {
			out = append(out, Violation{fmt.Sprintf("spec.allow[%d].from", i), "is empty: this rule lets nobody in"})
		}
	}
	return out
}
