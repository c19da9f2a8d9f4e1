package listing

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/weft-mesh/weft/services/internal/fault"
)

// mask is a set of paths, as a tree; an empty node stands for all that is below it.
type mask map[protoreflect.Name]mask

// ReadMask says what of an object is wanted. The zero value wants all of it.
type ReadMask struct {
	tree mask
}

// NewReadMask checks the paths of a mask against a kind of message; nil wants everything.
func NewReadMask(m *fieldmaskpb.FieldMask, kind proto.Message) (ReadMask, error) {
	if len(m.GetPaths()) == 0 {
		return ReadMask{}, nil
	}
	tree, err := parseMask("readMask", m, kind)
	return ReadMask{tree}, err
}

// Apply empties every field of an object that is not wanted.
func (r ReadMask) Apply(object proto.Message) {
	if r.tree != nil {
		prune(object.ProtoReflect(), r.tree)
	}
}

func prune(m protoreflect.Message, keep mask) {
	m.SetUnknown(nil)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		below, wanted := keep[f.Name()]
		switch {
		case !wanted:
			m.Clear(f)
		case len(below) > 0: // parseMask has seen to it that this is a single message
			prune(v.Message(), below)
		}
		return true
	})
}

// Overlay makes the object that an update with a mask wants: what is stored, with the fields that the mask names taken from
// what was sent. Only what people write may be named: spec, what is below it, and metadata.labels. Without a mask it is what
// was sent.
func Overlay[P proto.Message](m *fieldmaskpb.FieldMask, stored, sent P) (P, error) {
	if len(m.GetPaths()) == 0 {
		return sent, nil
	}
	tree, err := parseMask("updateMask", m, sent)
	if err != nil {
		return sent, err
	}
	var fields []fault.Field
	for i, path := range m.GetPaths() {
		if path != "spec" && !strings.HasPrefix(path, "spec.") && path != "metadata.labels" {
			fields = append(fields, fault.Field{
				Path: fmt.Sprintf("updateMask.paths[%d]", i), Problem: fmt.Sprintf("%q cannot be updated; spec, what is below it and metadata.labels can", path),
			})
		}
	}
	if len(fields) > 0 {
		return sent, fault.InvalidFields("request", fields)
	}
	out := proto.CloneOf(stored)
	overlay(out.ProtoReflect(), sent.ProtoReflect(), tree)
	return out, nil
}

func overlay(to, from protoreflect.Message, take mask) {
	for name, below := range take {
		f := to.Descriptor().Fields().ByName(name)
		switch {
		case len(below) > 0 && (to.Has(f) || from.Has(f)):
			overlay(to.Mutable(f).Message(), from.Get(f).Message(), below)
		case len(below) > 0:
		case from.Has(f):
			to.Set(f, from.Get(f))
		default:
			to.Clear(f)
		}
	}
}

// parseMask turns paths into a tree. Names are those of the protos or of their JSON form: a mask in the query of a REST request
// is not translated.
func parseMask(field string, m *fieldmaskpb.FieldMask, kind proto.Message) (mask, error) {
	tree := mask{}
	var fields []fault.Field
	paths := slices.Sorted(slices.Values(m.GetPaths()))
	for _, path := range paths {
		if problem := tree.add(path, kind.ProtoReflect().Descriptor()); problem != "" {
			at := fmt.Sprintf("%s.paths[%d]", field, slices.Index(m.GetPaths(), path))
			fields = append(fields, fault.Field{Path: at, Problem: problem})
		}
	}
	return tree, fault.InvalidFields("request", fields)
}

// add puts one path in. Paths come sorted, so that a path comes before what is below it.
func (t mask) add(path string, d protoreflect.MessageDescriptor) (problem string) {
	parts := strings.Split(path, ".")
	for i, part := range parts {
		var f protoreflect.FieldDescriptor
		if d != nil {
			if f = d.Fields().ByName(protoreflect.Name(part)); f == nil {
				f = d.Fields().ByJSONName(part)
			}
		}
		if f == nil {
			return fmt.Sprintf("%q is no field of the object; a path goes down to a list or a map, not into it", path)
		}
		d = nil
		if f.Message() != nil && !f.IsList() && !f.IsMap() && !strings.HasPrefix(string(f.Message().FullName()), "google.") {
			d = f.Message()
		}
		below, there := t[f.Name()]
		if there && len(below) == 0 {
			return "" // all of it is wanted already
		}
		if i == len(parts)-1 {
			t[f.Name()] = mask{}
			return ""
		}
		if !there {
			below = mask{}
			t[f.Name()] = below
		}
		t = below
	}
	return ""
}
