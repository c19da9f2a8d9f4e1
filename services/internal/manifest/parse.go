package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	discoverypb "github.com/weft-mesh/weft/gen/weft/discovery/v1alpha1"
	identitypb "github.com/weft-mesh/weft/gen/weft/identity/v1alpha1"
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
	"github.com/weft-mesh/weft/services/internal/modelpb"
)

// APIVersion is that of every kind here.
const APIVersion = "weft.dev/v1alpha1"

// kindList holds several objects, as `weft get -o yaml` writes them.
const kindList = "List"

// Object is one of Weft's objects as its message.
type Object interface {
	proto.Message
	GetMetadata() *typepb.ObjectMeta
}

// Parsed is one object of a manifest, or why it is none.
type Parsed struct {
	// Document counts from 1.
	Document int
	// Kind as written; empty when it could not be told.
	Kind string
	// Key as far as it could be told.
	Key model.Key
	// Object is nil with an error.
	Object Object
	// Err is an Invalid fault whose fields begin with the document or the object.
	Err error
}

// Parse reads all objects, or says in one Invalid fault everything that is wrong with them.
func Parse(data []byte) ([]Object, error) {
	var objects []Object
	var fields []fault.Field
	for _, p := range ParseEach(data) {
		var f *fault.Error
		if errors.As(p.Err, &f) {
			fields = append(fields, f.Fields...)
			continue
		}
		objects = append(objects, p.Object)
	}
	if err := fault.InvalidFields("manifest", fields); err != nil {
		return nil, err
	}
	return objects, nil
}

// ParseEach reads what can be read: a broken object does not hide the others. Only broken YAML ends the reading, because
// nobody knows where the next document begins.
func ParseEach(data []byte) []Parsed {
	var out []Parsed
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for document := 1; ; document++ {
		var tree any
		err := dec.Decode(&tree)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			problem := strings.TrimPrefix(err.Error(), "yaml: ")
			return append(out, broken(document, "", model.Key{}, []fault.Field{{Path: place(document, "", model.Key{}), Problem: "is not YAML: " + problem}}))
		}
		if tree != nil { // nothing between two "---"
			out = append(out, parseObject(document, tree)...)
		}
	}
}

// kinds makes an empty message of each kind.
func kinds() map[string]Object {
	return map[string]Object{
		model.KindService:         &discoverypb.Service{},
		model.KindWorkload:        &discoverypb.Workload{},
		model.KindRoute:           &policypb.Route{},
		model.KindAccessPolicy:    &policypb.AccessPolicy{},
		model.KindMeshConfig:      &policypb.MeshConfig{},
		model.KindExternalService: &policypb.ExternalService{},
		model.KindRoleBinding:     &identitypb.RoleBinding{},
	}
}

// Kinds lists the kinds that a manifest may hold, in order of name.
func Kinds() []string { return slices.Sorted(maps.Keys(kinds())) }

// New makes an empty object of a kind; nil for one that is not known.
func New(kind string) Object { return kinds()[kind] }

func parseObject(document int, tree any) []Parsed {
	top, ok := tree.(map[string]any)
	if !ok {
		return []Parsed{broken(document, "", model.Key{}, []fault.Field{{Path: place(document, "", model.Key{}), Problem: "must be an object with apiVersion, kind, metadata and spec"}})}
	}
	name, _ := top["kind"].(string)
	key := keyOf(top)
	at := place(document, name, key)
	if name == kindList {
		items, ok := top["items"].([]any)
		if !ok {
			return []Parsed{broken(document, name, key, []fault.Field{{Path: at + ": items", Problem: "must be a list of objects"}})}
		}
		var out []Parsed
		for _, item := range items {
			out = append(out, parseObject(document, item)...)
		}
		return out
	}
	all := kinds()
	object, known := all[name]
	var fields []fault.Field
	if top["apiVersion"] != APIVersion {
		fields = append(fields, fault.Field{Path: at + ": apiVersion", Problem: fmt.Sprintf("is %v; must be %s", show(top["apiVersion"]), APIVersion)})
	}
	if !known {
		allowed := strings.Join(slices.Sorted(maps.Keys(all)), ", ")
		fields = append(fields, fault.Field{Path: at + ": kind", Problem: fmt.Sprintf("is %s; must be one of %s", show(top["kind"]), allowed)})
	}
	if len(fields) > 0 {
		return []Parsed{broken(document, name, key, fields)}
	}
	body := maps.Clone(top)
	delete(body, "apiVersion")
	delete(body, "kind")
	fields = fill(object, body)
	for i := range fields {
		fields[i].Path = at + ": " + fields[i].Path
	}
	if len(fields) > 0 {
		return []Parsed{broken(document, name, key, fields)}
	}
	return []Parsed{{Document: document, Kind: name, Key: key, Object: object}}
}

// fill puts a checked tree into a message.
func fill(object Object, body map[string]any) []fault.Field {
	var c checker
	tree := c.message("", object.ProtoReflect().Descriptor(), body)
	if len(c.problems) > 0 {
		return c.problems
	}
	raw, err := json.Marshal(tree)
	if err == nil {
		err = protojson.Unmarshal(raw, object)
	}
	if err != nil {
		return []fault.Field{{Path: "object", Problem: err.Error()}}
	}
	return nil
}

func broken(document int, kind string, key model.Key, fields []fault.Field) Parsed {
	return Parsed{Document: document, Kind: kind, Key: key, Err: fault.InvalidFields("manifest", fields)}
}

// place names an object by what people call it, or by its document when it has no name.
func place(document int, kind string, key model.Key) string {
	if kind == "" || key.Name == "" {
		return fmt.Sprintf("document %d", document)
	}
	return kind + " " + key.String()
}

func keyOf(top map[string]any) model.Key {
	meta, _ := top["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	namespace, _ := meta["namespace"].(string)
	return modelpb.Key(namespace, name)
}
