package compile

import (
	"iter"
	"reflect"

	"github.com/weft-mesh/weft/services/internal/model"
)

// touch is what has to be compiled anew between two worlds.
type touch struct {
	// bodies and endpoints of services; what is in endpoints is also looked at in the index.
	bodies    map[model.Key]bool
	endpoints map[model.Key]bool
	inbound   map[model.Key]bool
	access    map[Account]bool
}

// touched compares two worlds object by object. Objects are compared by pointer: an equal object at another place costs a
// compilation, never a wrong result.
func touched(before, now *World) *touch {
	t := &touch{map[model.Key]bool{}, map[model.Key]bool{}, map[model.Key]bool{}, map[Account]bool{}}
	changedServices := map[model.Key]bool{}
	changes(before.Services, now.Services, func(k model.Key, _ *model.Service) {
		changedServices[k] = true
		t.bodies[k] = true
		t.endpoints[k] = true
	})
	changes(before.Workloads, now.Workloads, func(k model.Key, wl *model.Workload) {
		t.inbound[k] = true
		for svc := range servicesOf(wl) {
			t.endpoints[svc] = true
		}
	})
	changes(before.Routes, now.Routes, func(_ model.Key, r *model.Route) { t.bodies[serviceOf(r)] = true })
	changes(before.Policies, now.Policies, func(_ model.Key, p *model.AccessPolicy) { t.access[destinationOf(p)] = true })
	if len(changedServices) > 0 {
		t.follow(now, changedServices)
	}
	return t
}

// follow adds what refers to changed services: bodies whose rules name them as a backend, and the inbound side of workloads
// that are their endpoints.
func (t *touch) follow(now *World, services map[model.Key]bool) {
	for _, r := range now.Routes {
		for _, rule := range r.Rules {
			for _, b := range rule.Backends {
				if services[model.Key{Namespace: r.Namespace, Name: b.Service}] {
					t.bodies[serviceOf(r)] = true
				}
			}
		}
	}
	for k, wl := range now.Workloads {
		for svc := range servicesOf(wl) {
			if services[svc] {
				t.inbound[k] = true
			}
		}
	}
}

// changes calls f with the object before and the object now of every key at which they differ.
func changes[T any](before, now map[model.Key]*T, f func(model.Key, *T)) {
	if same(before, now) {
		return
	}
	common := 0
	for k, o := range now {
		old := before[k]
		if old != nil {
			common++
		}
		if old == o {
			continue
		}
		if old != nil {
			f(k, old)
		}
		f(k, o)
	}
	if common == len(before) { // nothing has gone
		return
	}
	for k, o := range before {
		if now[k] == nil {
			f(k, o)
		}
	}
}

// same says that two maps are one: maps are never written once they are here, so that nothing in them can differ.
func same[K comparable, V any](a, b map[K]V) bool {
	return reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer()
}

// serviceOf is the service that a route is about.
func serviceOf(r *model.Route) model.Key {
	return model.Key{Namespace: r.Namespace, Name: r.Service}
}

// destinationOf is the account that a policy protects.
func destinationOf(p *model.AccessPolicy) Account {
	return Account{Namespace: p.Namespace, Name: p.Account}
}

// servicesOf are the services that a workload wants to be an endpoint of, each once.
func servicesOf(wl *model.Workload) iter.Seq[model.Key] {
	return func(yield func(model.Key) bool) {
		seen := make(map[string]bool, len(wl.Services))
		for _, name := range wl.Services {
			if seen[name] {
				continue
			}
			seen[name] = true
			if !yield(model.Key{Namespace: wl.Namespace, Name: name}) {
				return
			}
		}
	}
}
