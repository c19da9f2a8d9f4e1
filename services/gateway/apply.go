package gateway

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/manifest"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/rpc"
)

// step is what is to be done with one object.
type step struct {
	kind   kind
	key    model.Key
	wanted manifest.Object
	// guarded says that the manifest itself names the etag that it replaces.
	guarded bool
	// existing is nil for a new object.
	existing manifest.Object
	// checked is what the owner said the object would become.
	checked written
	outcome *adminpb.AppliedObject
}

// subject is how fields of the object are named.
func (s *step) subject() string { return fmt.Sprintf("%s %s", s.kind.name, s.key) }

// Apply creates or updates every object of some manifests.
func (s *Service) Apply(ctx context.Context, req *adminpb.ApplyRequest) (*adminpb.ApplyResponse, error) {
	objects, err := manifest.Parse([]byte(req.GetManifests()))
	if err != nil {
		return nil, err
	}
	steps, err := s.plan(objects)
	if err != nil {
		return nil, err
	}
	if err := validate(ctx, steps); err != nil {
		return nil, err
	}
	if err := s.resolve(ctx, steps, req.GetStrict()); err != nil {
		return nil, err
	}
	out := &adminpb.ApplyResponse{}
	if req.GetDryRun() {
		for _, st := range steps {
			st.outcome.Action = foretell(st)
		}
	} else {
		out.Revisions = carryOut(ctx, steps)
	}
	for _, st := range steps {
		out.Objects = append(out.Objects, st.outcome)
	}
	return out, nil
}

// plan finds out who owns each object and refuses one that is there twice.
func (s *Service) plan(objects []manifest.Object) ([]*step, error) {
	if len(objects) == 0 {
		return nil, fault.InvalidFields("request", []fault.Field{{Path: "manifests", Problem: "hold no object"}})
	}
	var all owners
	for service, conn := range map[string]*grpc.ClientConnInterface{discovery: &all.discovery, policy: &all.policy, identity: &all.identity} {
		var err error
		if *conn, err = s.deps.Dial(service); err != nil {
			return nil, fault.Wrap(fault.Unavailable, err, "service %s cannot be reached", service)
		}
	}
	var steps []*step
	var fields []fault.Field
	seen := map[string]bool{}
	for _, o := range objects {
		k, ok := all.kindOf(o)
		if !ok {
			return nil, fault.New(fault.Internal, "manifests hold a %s, which is no kind of object", o.ProtoReflect().Descriptor().FullName())
		}
		meta := o.GetMetadata()
		st := &step{kind: k, wanted: o, key: modelpb.Key(meta.GetNamespace(), meta.GetName()), guarded: meta.GetEtag() != ""}
		st.outcome = &adminpb.AppliedObject{Object: &typepb.ObjectRef{Kind: k.name, Namespace: st.key.Namespace, Name: st.key.Name}}
		if seen[st.subject()] {
			fields = append(fields, fault.Field{Path: st.subject() + ": metadata.name", Problem: "is there twice; each object comes once"})
		}
		seen[st.subject()] = true
		steps = append(steps, st)
	}
	return steps, fault.InvalidFields("manifest", fields)
}

// validate reads what exists and asks the owners whether they would accept what is wanted; nothing is written.
func validate(ctx context.Context, steps []*step) error {
	var fields []fault.Field
	for _, st := range steps {
		if err := st.read(ctx); err != nil {
			return err
		}
		checked, err := st.send(ctx, true)
		err = rpc.FaultOf(err)
		if f := (*fault.Error)(nil); errors.As(err, &f) && f.Kind == fault.Invalid {
			fields = append(fields, prefixed(st, f)...)
			continue
		}
		if err != nil {
			return fmt.Errorf("validate %s: %w", st.subject(), err)
		}
		st.checked = checked
		st.outcome.Warnings = checked.warnings
	}
	return fault.InvalidFields("manifest", fields)
}

func prefixed(st *step, f *fault.Error) []fault.Field {
	if len(f.Fields) == 0 {
		return []fault.Field{{Path: st.subject(), Problem: f.Text}}
	}
	out := make([]fault.Field, 0, len(f.Fields))
	for _, field := range f.Fields {
		out = append(out, fault.Field{Path: st.subject() + ": " + field.Path, Problem: field.Problem})
	}
	return out
}

// read looks whether the object exists.
func (s *step) read(ctx context.Context) error {
	existing, err := s.kind.get(ctx, s.key)
	err = rpc.FaultOf(err)
	switch {
	case fault.Is(err, fault.NotFound), fault.Is(err, fault.Invalid): // an invalid name names nothing; validation says why
		s.existing = nil
	case err != nil:
		return fmt.Errorf("read %s: %w", s.subject(), err)
	default:
		s.existing = existing
	}
	return nil
}

// send creates or updates the object. An update replaces exactly what was read, so that a change that somebody makes in the
// meantime is noticed.
func (s *step) send(ctx context.Context, validateOnly bool) (written, error) {
	if s.existing == nil {
		return s.kind.create(ctx, s.wanted, validateOnly)
	}
	o := proto.CloneOf(s.wanted)
	if !s.guarded {
		o.GetMetadata().Etag = s.existing.GetMetadata().GetEtag()
	}
	return s.kind.update(ctx, o, validateOnly)
}

// resolve looks for references to objects that neither exist nor are in the manifests: a warning, or with strict an error.
func (s *Service) resolve(ctx context.Context, steps []*step, strict bool) error {
	catalogue, err := s.deps.Dial(discovery)
	if err != nil {
		return fault.Wrap(fault.Unavailable, err, "service discovery cannot be reached")
	}
	services := map[model.Key]bool{}
	for _, st := range steps {
		if st.kind.name == model.KindService {
			services[st.key] = true
		}
	}
	known := serviceKind(discoverypb.NewDiscoveryServiceClient(catalogue))
	var failed error
	exists := func(_ string, key model.Key) bool {
		if _, ok := services[key]; !ok {
			_, err := known.get(ctx, key)
			err = rpc.FaultOf(err)
			if err != nil && !fault.Is(err, fault.NotFound) && failed == nil {
				failed = fmt.Errorf("read service %q: %w", key, err)
			}
			services[key] = err == nil
		}
		return services[key]
	}
	var fields []fault.Field
	for _, st := range steps {
		for _, v := range model.Unresolved(references(st.wanted), exists) {
			if strict {
				fields = append(fields, fault.Field{Path: st.subject() + ": " + v.Path, Problem: v.Problem})
				continue
			}
			st.warn(v)
		}
	}
	if failed != nil {
		return failed
	}
	return fault.InvalidFields("manifest", fields)
}

// warn adds a warning unless the owner has warned of that field already.
func (s *step) warn(v model.Violation) {
	for _, w := range s.outcome.GetWarnings() {
		if w.GetField() == v.Path {
			return
		}
	}
	s.outcome.Warnings = append(s.outcome.Warnings, &typepb.Warning{Field: v.Path, Message: v.Problem})
}

// references lists the services that an object names.
func references(o manifest.Object) []model.Reference {
	switch o := o.(type) {
	case *policypb.Route:
		if route, err := modelpb.RouteFromProto(o); err == nil {
			return route.References()
		}
	case *discoverypb.Workload:
		if workload, err := modelpb.WorkloadFromProto(o); err == nil {
			return workload.References()
		}
	}
	return nil
}
