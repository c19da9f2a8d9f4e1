package intake

import (
	"maps"
	"sync"

	"github.com/weft-mesh/weft/services/distributor/compile"
	"github.com/weft-mesh/weft/services/internal/model"
)

// world collects what the sources said. Safe for concurrent use.
type world struct {
	mu     sync.Mutex
	vector model.Vector
	bundle *compile.Bundle
	catalogue
}

// catalogue is every object, by kind.
type catalogue struct {
	services  objects[model.Service]
	workloads objects[model.Workload]
	routes    objects[model.Route]
	policies  objects[model.AccessPolicy]
	meshes    objects[model.MeshConfig]
	externals objects[model.ExternalService]
}

// objects is a map that is cloned before the first write after it was handed out.
type objects[T any] struct {
	m      map[model.Key]*T
	shared bool
}

func (o *objects[T]) writable() map[model.Key]*T {
	if o.shared {
		o.m = maps.Clone(o.m)
	}
	if o.m == nil {
		o.m = map[model.Key]*T{}
	}
	o.shared = false
	return o.m
}

func (o *objects[T]) share() map[model.Key]*T {
	o.shared = true
	return o.m
}

// clear drops everything and returns what was there.
func (o *objects[T]) clear() map[model.Key]*T {
	before := o.m
	*o = objects[T]{}
	return before
}

// put stores what a change says; bad makes something of an object that could not be read and of which there is no good state,
// or returns nil for nothing.
func (o *objects[T]) put(c change, lastGood map[model.Key]*T, bad func(*T) *T) {
	object, _ := c.object.(*T)
	if c.err != nil {
		good := lastGood[c.key]
		if good == nil {
			good = o.m[c.key]
		}
		if good == nil {
			good = bad(object)
		}
		if good == nil {
			return
		}
		object = good
	}
	if object == nil {
		if _, ok := o.m[c.key]; ok {
			delete(o.writable(), c.key)
		}
		return
	}
	o.writable()[c.key] = object
}

// commit applies a complete step.
func (w *world) commit(st step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var before catalogue // what a reset dropped, for objects that cannot be read now
	if st.reset {
		before = w.reset(st.revision.Source)
	}
	for _, c := range st.changes {
		switch c.kind {
		case model.KindService:
			w.services.put(c, before.services.m, ignore)
		case model.KindWorkload:
			w.workloads.put(c, before.workloads.m, ignore)
		case model.KindRoute:
			w.routes.put(c, before.routes.m, ignore)
		case model.KindAccessPolicy:
			w.policies.put(c, before.policies.m, nobody)
		case model.KindMeshConfig:
			w.meshes.put(c, before.meshes.m, ignore)
		case model.KindExternalService:
			w.externals.put(c, before.externals.m, ignore)
		case kindBundle:
			w.bundle, _ = c.object.(*compile.Bundle)
		}
	}
	w.vector = w.vector.With(st.revision)
}

// ignore: an object that nobody ever understood is left out.
func ignore[T any](*T) *T { return nil }

// nobody: a policy that nobody ever understood still protects its destination; it lets nobody pass.
func nobody(p *model.AccessPolicy) *model.AccessPolicy {
	if p == nil || p.Account == "" {
		return nil
	}
	return &model.AccessPolicy{Meta: p.Meta, Account: p.Account}
}

// reset drops the objects of a source and returns them.
func (w *catalogue) reset(of model.Source) (before catalogue) {
	switch of {
	case model.SourceDiscovery:
		before.services.m, before.workloads.m = w.services.clear(), w.workloads.clear()
	case model.SourcePolicy:
		before.routes.m, before.policies.m, before.meshes.m = w.routes.clear(), w.policies.clear(), w.meshes.clear()
		before.externals.m = w.externals.clear()
	}
	return before
}

// snapshot is the world as it is now, or nil while a source is missing.
func (w *world) snapshot() *compile.World {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.vector.Revisions()) < 3 || w.bundle == nil {
		return nil
	}
	return &compile.World{
		Vector:    w.vector,
		Services:  w.services.share(),
		Workloads: w.workloads.share(),
		Routes:    w.routes.share(),
		Policies:  w.policies.share(),
		Mesh:      w.meshes.m[model.Key{Namespace: model.DefaultNamespace, Name: "default"}],
		Externals: w.externals.share(),
		Bundle:    w.bundle,
	}
}

// revision is the last complete one of a source.
func (w *world) revision(of model.Source) model.Revision {
	w.mu.Lock()
	defer w.mu.Unlock()
	return map[model.Source]model.Revision{
		model.SourcePolicy: w.vector.Policy, model.SourceDiscovery: w.vector.Discovery, model.SourceIdentity: w.vector.Identity,
	}[of]
}

func (w *world) missing() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, s := range []struct {
		name string
		at   model.Revision
	}{{"policy", w.vector.Policy}, {"discovery", w.vector.Discovery}, {"identity", w.vector.Identity}} {
		if s.at.Epoch == "" {
			out = append(out, s.name)
		}
	}
	return out
}
