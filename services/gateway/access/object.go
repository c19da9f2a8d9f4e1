package access

import (
	"cmp"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/manifest"
	"github.com/weft-mesh/weft/services/internal/model"
)

// Objects lists what a request is about. A request of a list that names no namespace is about nothing in particular.
func (r Rule) Objects(request proto.Message) ([]Object, error) {
	if apply, ok := request.(*adminpb.ApplyRequest); ok {
		return ofManifests(apply)
	}
	if join, ok := request.(*identitypb.CreateJoinTokenRequest); ok {
		return r.ofJoinToken(join), nil
	}
	m := request.ProtoReflect()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Message() == nil || f.IsList() || f.IsMap() {
			continue
		}
		if object, ok := m.Get(f).Message().Interface().(interface{ GetMetadata() *typepb.ObjectMeta }); ok {
			meta := object.GetMetadata()
			return []Object{r.object(meta.GetNamespace(), meta.GetName())}, nil
		}
	}
	namespace, named := text(m, "namespace")
	name, _ := text(m, "name")
	if name == "" {
		name, _ = text(m, "service")
	}
	id, identified := text(m, "id")
	switch {
	case r.Where == OfFilter && namespace == "", !named && !identified:
		return nil, nil
	case identified:
		return []Object{{Kind: r.Kind, Name: id}}, nil
	}
	return []Object{r.object(namespace, name)}, nil
}

// ofJoinToken lists the account that the token is for and the services that are made for it where they do not exist.
func (r Rule) ofJoinToken(request *identitypb.CreateJoinTokenRequest) []Object {
	out := []Object{r.object(request.GetNamespace(), request.GetAccount())}
	for _, service := range request.GetServices() {
		out = append(out, Object{Kind: model.KindService, Namespace: out[0].Namespace, Name: service})
	}
	return out
}

func (r Rule) object(namespace, name string) Object {
	return Object{Kind: r.Kind, Namespace: cmp.Or(namespace, model.DefaultNamespace), Name: name}
}

func text(m protoreflect.Message, name protoreflect.Name) (value string, there bool) {
	f := m.Descriptor().Fields().ByName(name)
	if f == nil || f.Kind() != protoreflect.StringKind || f.IsList() {
		return "", false
	}
	return m.Get(f).String(), true
}

// ofManifests lists the objects of manifests, each with the role that its kind needs.
func ofManifests(request *adminpb.ApplyRequest) ([]Object, error) {
	parsed, err := manifest.Parse([]byte(request.GetManifests()))
	if err != nil {
		return nil, err
	}
	var out []Object
	for _, o := range parsed {
		kind, meta := manifest.KindOf(o), o.GetMetadata()
		out = append(out, Object{
			Kind: kind, Namespace: cmp.Or(meta.GetNamespace(), model.DefaultNamespace), Name: meta.GetName(), Role: ToWrite(kind),
		})
	}
	return out, nil
}
