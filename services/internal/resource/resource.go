package resource

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/kv"
	"github.com/weft-mesh/weft/services/internal/listing"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
	"github.com/weft-mesh/weft/services/internal/rpc"
	"github.com/weft-mesh/weft/services/internal/state"
)

// Message is an object on the wire.
type Message interface {
	proto.Message
	GetMetadata() *typepb.ObjectMeta
}

// Stamp makes the revision of a change out of the store's number for it.
type Stamp func(ctx context.Context, seq int64) (model.Revision, error)

// Hooks are what a service adds to a kind. All may be nil.
type Hooks[T any] struct {
	// Prepare fills in what people cannot set and what only the service knows; current is nil for a new object. It may
	// refuse. With dry nothing is about to be stored.
	Prepare func(ctx context.Context, next, current *T, dry bool) error
	// Warn says what the author should know about an object that is otherwise fine; it is asked before the write, so that no
	// write is answered with an error that was made.
	Warn func(ctx context.Context, object *T) ([]model.Violation, error)
	// Removing sees the version that is about to be removed, and returns what is to be done once it is.
	Removing func(ctx context.Context, object *T) (removed func(ctx context.Context), err error)
}

// Resource answers the calls about one kind. Safe for concurrent use.
type Resource[T any, P Message] struct {
	typ        Type[T, P]
	collection *state.Collection[T]
	stamp      Stamp
	hooks      Hooks[T]
}

// New makes the resource of a kind in a service's part of the store.
func New[T any, P Message](store kv.Store, typ Type[T, P], stamp Stamp, hooks Hooks[T]) *Resource[T, P] {
	return &Resource[T, P]{typ: typ, collection: state.NewCollection(store, typ.State()), stamp: stamp, hooks: hooks}
}

// Collection is the stored form, for what a service does beside these calls.
func (r *Resource[T, P]) Collection() *state.Collection[T] { return r.collection }

// Answer is what a write answers.
type Answer[P any] struct {
	// Object as stored, or as it would be.
	Object P
	// Revision of the object's last change; nil when nothing was stored.
	Revision *typepb.SourceRevision
	// Warnings for its author.
	Warnings []*typepb.Warning
}

// Create adds an object.
func (r *Resource[T, P]) Create(ctx context.Context, p P, validateOnly bool) (Answer[P], error) {
	next, err := r.read(p)
	if err != nil {
		return Answer[P]{}, err
	}
	meta := r.typ.Meta(&next)
	meta.Etag = ""
	if _, err := r.collection.Get(ctx, meta.Key); err == nil {
		return Answer[P]{}, fault.New(fault.Exists, "there is a %s %q already", r.typ.Kind, meta.Key)
	} else if !fault.Is(err, fault.NotFound) {
		return Answer[P]{}, err
	}
	meta.CreateTime = time.Now().UTC()
	warnings, err := r.prepare(ctx, &next, nil, validateOnly)
	if err != nil || validateOnly {
		return Answer[P]{Object: r.typ.ToProto(next), Warnings: warnings}, err
	}
	written, err := r.collection.Create(ctx, next)
	return r.answer(ctx, written, warnings, err)
}

// Update replaces an object, or what a mask names of it, guarded by its etag when it has one.
func (r *Resource[T, P]) Update(ctx context.Context, p P, updateMask *fieldmaskpb.FieldMask, validateOnly bool) (Answer[P], error) {
	meta := model.Meta{Key: modelpb.Key(p.GetMetadata().GetNamespace(), p.GetMetadata().GetName()), Etag: p.GetMetadata().GetEtag()}
	if len(updateMask.GetPaths()) == 0 { // all of it is judged before the store is asked
		if _, err := r.read(p); err != nil {
			return Answer[P]{}, err
		}
	}
	var warnings []*typepb.Warning
	change := func(current T) (T, error) {
		wanted, err := listing.Overlay(updateMask, r.typ.ToProto(current), p)
		if err != nil {
			return current, err
		}
		object, err := r.read(wanted)
		if err != nil {
			return current, err
		}
		was := r.typ.Meta(&current)
		now := r.typ.Meta(&object)
		now.Etag, now.Origin, now.CreateTime, now.UpdateTime = was.Etag, was.Origin, was.CreateTime, was.UpdateTime
		said, err := r.prepare(ctx, &object, &current, validateOnly)
		warnings = said
		return object, err
	}
	if !validateOnly {
		written, err := r.collection.Modify(ctx, meta.Key, meta.Etag, change)
		return r.answer(ctx, written, warnings, err)
	}
	current, err := r.collection.Get(ctx, meta.Key)
	if err != nil {
		return Answer[P]{}, err
	}
	if etag := r.typ.Meta(&current).Etag; meta.Etag != "" && meta.Etag != etag {
		return Answer[P]{}, state.Conflict(r.typ.Kind, meta.Key, meta.Etag, etag)
	}
	object, err := change(current)
	return Answer[P]{Object: r.typ.ToProto(object), Warnings: warnings}, err
}

// Get reads one object, or what the request's mask wants of it.
func (r *Resource[T, P]) Get(ctx context.Context, req interface {
	GetNamespace() string
	GetName() string
	GetReadMask() *fieldmaskpb.FieldMask
}) (P, error) {
	var none P
	mask, err := listing.NewReadMask(req.GetReadMask(), none)
	if err != nil {
		return none, err
	}
	object, err := r.collection.Get(ctx, modelpb.Key(req.GetNamespace(), req.GetName()))
	if err != nil {
		return none, err
	}
	p := r.typ.ToProto(object)
	mask.Apply(p)
	return p, nil
}

// Lister is what a request for a list of objects holds.
type Lister interface {
	GetNamespace() string
	GetPageSize() int32
	GetPageToken() string
	GetFilter() string
	GetReadMask() *fieldmaskpb.FieldMask
}

// List reads a page of what the caller may see and the filter lets pass, and returns the token of the next page.
func (r *Resource[T, P]) List(ctx context.Context, req Lister) ([]P, string, error) {
	var kind P
	filter, err := listing.NewFilter(req.GetFilter(), kind)
	if err != nil {
		return nil, "", err
	}
	mask, err := listing.NewReadMask(req.GetReadMask(), kind)
	if err != nil {
		return nil, "", err
	}
	objects, _, err := r.collection.All(ctx, req.GetNamespace())
	if err != nil {
		return nil, "", err
	}
	all := make([]P, 0, len(objects))
	caller := rpc.CallerFrom(ctx)
	for i := range objects {
		if caller.Sees(r.typ.Meta(&objects[i]).Namespace) {
			all = append(all, r.typ.ToProto(objects[i]))
		}
	}
	page, next, err := listing.Cut(ctx, all, sortKey[P], func(p P) (bool, error) { return filter.Match(ctx, p) }, listing.Page{
		Size: req.GetPageSize(), Token: req.GetPageToken(), Epoch: r.collection.Epoch,
		Query: []string{r.typ.Kind, req.GetNamespace(), req.GetFilter()},
	})
	for _, p := range page {
		mask.Apply(p)
	}
	return page, next, err
}

// sortKey orders as collections do, by namespace and then by name; neither can hold a zero byte.
func sortKey[P Message](p P) string {
	return p.GetMetadata().GetNamespace() + "\x00" + p.GetMetadata().GetName()
}

// Delete removes an object, guarded by an etag when there is one, and returns the revision of the removal.
func (r *Resource[T, P]) Delete(ctx context.Context, req interface {
	GetNamespace() string
	GetName() string
	GetEtag() string
}) (*typepb.SourceRevision, error) {
	removed := func(context.Context) {}
	key := modelpb.Key(req.GetNamespace(), req.GetName())
	seq, err := r.collection.Remove(ctx, key, req.GetEtag(), func(object T) (err error) {
		if r.hooks.Removing != nil {
			removed, err = r.hooks.Removing(ctx, &object)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	removed(ctx)
	revision, err := r.stamp(ctx, seq)
	return modelpb.RevisionToProto(revision), err
}

// read takes from a message what people may set, and checks it.
func (r *Resource[T, P]) read(p P) (T, error) {
	object, err := r.typ.FromProto(p)
	if err != nil {
		return object, err
	}
	meta := r.typ.Meta(&object)
	meta.CreateTime, meta.UpdateTime, meta.Origin = time.Time{}, time.Time{}, ""
	if err := unknown(r.typ.Kind, meta.Key, p); err != nil {
		return object, err
	}
	return object, Check(r.typ.Kind, meta.Key, r.typ.Validate(&object))
}

// Check makes an Invalid fault of the rules that an object breaks, or returns nil.
func Check(kind string, key model.Key, broken []model.Violation) error {
	var fields []fault.Field
	for _, v := range broken {
		fields = append(fields, fault.Field(v))
	}
	return fault.InvalidFields(kind+" \""+key.String()+"\"", fields)
}

func (r *Resource[T, P]) prepare(ctx context.Context, next, current *T, dry bool) ([]*typepb.Warning, error) {
	if r.hooks.Prepare != nil {
		if err := r.hooks.Prepare(ctx, next, current, dry); err != nil {
			return nil, err
		}
	}
	if r.hooks.Warn == nil {
		return nil, nil
	}
	warnings, err := r.hooks.Warn(ctx, next)
	return modelpb.WarningsToProto(warnings), err
}

func (r *Resource[T, P]) answer(ctx context.Context, written state.Written[T], warnings []*typepb.Warning, err error) (Answer[P], error) {
	if err != nil {
		return Answer[P]{}, err
	}
	revision, err := r.stamp(ctx, written.Revision)
	return Answer[P]{Object: r.typ.ToProto(written.Object), Revision: modelpb.RevisionToProto(revision), Warnings: warnings}, err
}
