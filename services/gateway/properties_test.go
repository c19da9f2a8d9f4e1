package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"

	adminpb "github.com/weft-mesh/weft/gen/weft/admin/v1alpha1"
	"github.com/weft-mesh/weft/services/app"
	"github.com/weft-mesh/weft/services/internal/manifest"
)

// property is one field that people can set, at the end of a way through messages, lists and maps.
type property struct {
	kind string
	// way are the fields from the object down; a list on it is entered at its first element.
	way []protoreflect.FieldDescriptor
}

// path is how the API names the property: spec.rules[0].backends[0].weight.
func (p property) path() string {
	var b strings.Builder
	for i, f := range p.way {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(f.JSONName())
		if f.IsList() {
			b.WriteString("[0]")
		}
	}
	return b.String()
}

func (p property) leaf() protoreflect.FieldDescriptor { return p.way[len(p.way)-1] }

// properties walks everything of a kind that people can set: what its documentation calls output only is left out.
func properties(kind string, d protoreflect.MessageDescriptor) []property {
	outputOnly := []protoreflect.FullName{
		"weft.type.v1alpha1.ObjectMeta.create_time", "weft.type.v1alpha1.ObjectMeta.update_time", "weft.type.v1alpha1.ObjectMeta.origin",
		"weft.type.v1alpha1.ObjectMeta.etag", // guards the write, and is no property of the object
		"weft.discovery.v1alpha1.Service.virtual_address", "weft.discovery.v1alpha1.Workload.status",
	}
	var out []property
	var walk func(way []protoreflect.FieldDescriptor, d protoreflect.MessageDescriptor)
	walk = func(way []protoreflect.FieldDescriptor, d protoreflect.MessageDescriptor) {
		for i := range d.Fields().Len() {
			f := d.Fields().Get(i)
			if slices.Contains(outputOnly, f.FullName()) {
				continue
			}
			next := append(slices.Clone(way), f)
			if f.Message() != nil && !f.IsMap() && !strings.HasPrefix(string(f.Message().FullName()), "google.") {
				walk(next, f.Message())
				continue
			}
			out = append(out, property{kind, next})
		}
	}
	walk(nil, d)
	return out
}

// with sets the property of an otherwise empty object.
func (p property) with(object proto.Message, value protoreflect.Value) {
	m := object.ProtoReflect()
	for _, f := range p.way[:len(p.way)-1] {
		if f.IsList() {
			list := m.Mutable(f).List()
			m = list.AppendMutable().Message()
			continue
		}
		m = m.Mutable(f).Message()
	}
	switch f := p.leaf(); {
	case f.IsMap():
		m.Mutable(f).Map().Set(protoreflect.ValueOfString(value.String()).MapKey(), protoreflect.ValueOfString("x"))
	case f.IsList():
		m.Mutable(f).List().Append(value)
	default:
		m.Set(f, value)
	}
}

// values are what a property is tried with; some of them must be refused, and some not.
func (p property) values() []protoreflect.Value {
	f := p.leaf()
	var out []protoreflect.Value
	switch {
	case f.IsMap():
		for _, key := range []string{"team", "not a key", ""} {
			out = append(out, protoreflect.ValueOfString(key))
		}
	case f.Kind() == protoreflect.StringKind:
		for _, s := range []string{
			"name", "/path", "10.0.0.1", "GET", "x-header", "eu-1/a", "spiffe://weft.local/ns/a/sa/b", "default", "1s", "a.b", "http://a.b/c",
			"", "Not A Name", "a\x00b", "(", "\xff", strings.Repeat("x", 5000), "..", "-1",
		} {
			out = append(out, protoreflect.ValueOfString(s))
		}
	case f.Kind() == protoreflect.BoolKind:
		out = append(out, protoreflect.ValueOfBool(true), protoreflect.ValueOfBool(false))
	case f.Kind() == protoreflect.EnumKind:
		out = append(out, protoreflect.ValueOfEnum(1), protoreflect.ValueOfEnum(9999))
	case f.Kind() == protoreflect.Uint32Kind:
		for _, n := range []uint32{1, 100, 503, 8080, 0, 4_000_000_000} {
			out = append(out, protoreflect.ValueOfUint32(n))
		}
	case f.Kind() == protoreflect.MessageKind && f.Message().FullName() == "google.protobuf.Duration":
		for _, s := range []int64{5, 0, -5, 1 << 40} {
			out = append(out, protoreflect.ValueOfMessage((&durationpb.Duration{Seconds: s}).ProtoReflect()))
		}
	}
	return out
}

// TestI1_EveryPropertyIsAValidatedField walks every field that people can set of every kind, as the protos list them: each is
// reached through the API, and for each there is a value that is refused with the field's name and a reason. A property that is
// added without a rule fails here.
func TestI1_EveryPropertyIsAValidatedField(t *testing.T) {
	ports, token := start(t, func(s *app.Settings) { s.Gateway.Rate = 1e6 })
	conn, err := grpc.NewClient(ports.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
	count := 0
	for _, kind := range manifest.Kinds() {
		object := manifest.New(kind)
		service := string(object.ProtoReflect().Descriptor().ParentFile().Package())
		method := methodFor(t, service, kind)
		for _, p := range properties(kind, object.ProtoReflect().Descriptor()) {
			count++
			t.Run(kind+"/"+p.path(), func(t *testing.T) {
				var refused string
				accepted := false
				for _, value := range p.values() {
					o := manifest.New(kind)
					p.with(o, value)
					problem, sent := judge(ctx, t, conn, method, o, p.path())
					switch {
					case problem != "":
						refused = problem
					case sent:
						accepted = true
					}
				}
				if refused == "" && !mistyped(ctx, conn, p) {
					t.Errorf("no value of %s is refused", p.path())
				}
				if !accepted {
					t.Errorf("no value of %s is accepted: the last problem was %q", p.path(), refused)
				}
			})
		}
	}
	if count < 40 {
		t.Errorf("only %d properties were found", count)
	}
}

// create is the call that makes objects of a kind.
type create struct {
	name    string
	request protoreflect.MessageType
	field   protoreflect.FieldDescriptor
	answer  protoreflect.MessageType
}

func methodFor(t *testing.T, pkg, kind string) create {
	t.Helper()
	var out create
	protoregistry.GlobalFiles.RangeFilesByPackage(protoreflect.FullName(pkg), func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			m := f.Services().Get(i).Methods().ByName(protoreflect.Name("Create" + kind))
			if m == nil {
				continue
			}
			out.name = fmt.Sprintf("/%s/%s", f.Services().Get(i).FullName(), m.Name())
			out.request, _ = protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
			out.answer, _ = protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
			out.field = m.Input().Fields().Get(0)
		}
		return true
	})
	if out.request == nil || out.answer == nil {
		t.Fatalf("no call makes objects of kind %s", kind)
	}
	return out
}

// judge asks the owner about an object, and returns what it says about one path. What cannot be sent at all (text that is not
// UTF-8) is refused by the protocol.
func judge(ctx context.Context, t *testing.T, conn *grpc.ClientConn, c create, object proto.Message, path string) (problem string, sent bool) {
	t.Helper()
	request := c.request.New()
	request.Set(c.field, protoreflect.ValueOfMessage(object.ProtoReflect()))
	request.Set(c.request.Descriptor().Fields().ByName("validate_only"), protoreflect.ValueOfBool(true))
	if _, err := proto.Marshal(request.Interface()); err != nil {
		return "", false
	}
	err := conn.Invoke(ctx, c.name, request.Interface(), c.answer.New().Interface())
	st := status.Convert(err)
	if st.Code() != codes.OK && st.Code() != codes.InvalidArgument {
		t.Fatalf("%s: %v", c.name, err)
	}
	for _, d := range st.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				field, key, _ := strings.Cut(v.GetField(), path)
				if field == "" && (key == "" || key[0] == '[') && v.GetDescription() != "" {
					return v.GetDescription(), true
				}
			}
		}
	}
	return "", true
}

// mistyped says whether a manifest that gives the property a value of another type is refused with its name: what a property
// such as a yes or no can be refused for.
func mistyped(ctx context.Context, conn *grpc.ClientConn, p property) bool {
	value := any(map[string]any{"wrong": "type"})
	for i := len(p.way) - 1; i >= 0; i-- {
		if p.way[i].IsList() {
			value = []any{value}
		}
		value = map[string]any{p.way[i].JSONName(): value}
	}
	_, err := adminpb.NewAdminServiceClient(conn).Apply(ctx, &adminpb.ApplyRequest{DryRun: true, Manifests: manifestOf(p.kind, value)})
	return status.Code(err) == codes.InvalidArgument && strings.Contains(err.Error(), p.path())
}

func manifestOf(kind string, tree any) string {
	body, ok := tree.(map[string]any)
	if !ok {
		return ""
	}
	body["apiVersion"], body["kind"] = manifest.APIVersion, kind
	text, err := json.Marshal(body)
	if err != nil {
		return ""
	}
	return string(text)
}
