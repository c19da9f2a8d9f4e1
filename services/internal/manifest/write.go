package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// YAML writes objects as documents that Parse reads back.
func YAML(objects ...Object) ([]byte, error) {
	if len(objects) == 0 {
		return nil, nil // the encoder cannot end a stream that it has not begun
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	for _, o := range objects {
		node, err := document(o)
		if err != nil {
			return nil, err
		}
		if err := enc.Encode(node); err != nil {
			return nil, fmt.Errorf("write %q: %w", o.GetMetadata().GetName(), err)
		}
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	return out.Bytes(), nil
}

// JSON writes one object.
func JSON(o Object) ([]byte, error) {
	node, err := document(o)
	if err != nil {
		return nil, err
	}
	var tree any
	if err := node.Decode(&tree); err != nil {
		return nil, fmt.Errorf("write %q: %w", o.GetMetadata().GetName(), err)
	}
	return json.Marshal(tree)
}

// KindOf names an object's kind, or is empty for a message that is none.
func KindOf(o Object) string {
	for name, empty := range kinds() {
		if empty.ProtoReflect().Descriptor() == o.ProtoReflect().Descriptor() {
			return name
		}
	}
	return ""
}

// document is an object in the order in which people write it: apiVersion, kind, then the message's own order.
func document(o Object) (*yaml.Node, error) {
	kind := KindOf(o)
	if kind == "" {
		return nil, fmt.Errorf("write manifest: %q is no kind of object", o.ProtoReflect().Descriptor().FullName())
	}
	node := mapping(text("apiVersion"), text(APIVersion), text("kind"), text(kind))
	node.Content = append(node.Content, message(o.ProtoReflect()).Content...)
	return node, nil
}

func message(m protoreflect.Message) *yaml.Node {
	node := mapping()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		value := field(f, m.Get(f))
		if name := f.JSONName(); len(value.Content) == 0 && (name == "metadata" || name == "status") {
			continue // elsewhere an empty object is not the same as none: a retry budget of zeros allows no retry
		}
		node.Content = append(node.Content, text(f.JSONName()), value)
	}
	return node
}

func field(f protoreflect.FieldDescriptor, v protoreflect.Value) *yaml.Node {
	switch {
	case f.IsMap():
		labels := map[string]string{}
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			labels[k.String()] = v.String()
			return true
		})
		node := mapping()
		for _, k := range slices.Sorted(maps.Keys(labels)) {
			node.Content = append(node.Content, text(k), text(labels[k]))
		}
		return node
	case f.IsList():
		node := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.List().Len() {
			node.Content = append(node.Content, single(f, v.List().Get(i)))
		}
		return node
	default:
		return single(f, v)
	}
}

func single(f protoreflect.FieldDescriptor, v protoreflect.Value) *yaml.Node {
	switch f.Kind() {
	case protoreflect.MessageKind:
		switch known := v.Message().Interface().(type) {
		case *durationpb.Duration:
			return text(formatDuration(known.AsDuration()))
		case *timestamppb.Timestamp:
			return text(known.AsTime().UTC().Format(time.RFC3339Nano))
		}
		return message(v.Message())
	case protoreflect.EnumKind:
		value := f.Enum().Values().ByNumber(v.Enum())
		if value == nil {
			return text(fmt.Sprint(v.Enum()))
		}
		return text(strings.ToLower(strings.TrimPrefix(string(value.Name()), enumPrefix(f.Enum()))))
	case protoreflect.StringKind:
		return text(v.String())
	default:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v.Interface())}
	}
}

// text is a string whatever YAML would make of it: the encoder quotes it where it must.
func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

func mapping(content ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: content}
}
