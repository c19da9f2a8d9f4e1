package resource

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weft-mesh/weft/services/internal/fault"
	"github.com/weft-mesh/weft/services/internal/model"
)

// unknown refuses a message with fields that this version does not know. To drop a condition of an access rule silently
// would let more pass than its author meant.
func unknown(kind string, key model.Key, p proto.Message) error {
	var fields []fault.Field
	walk(p.ProtoReflect(), "", func(path string) {
		if path == "" {
			path = "the object"
		}
		fields = append(fields, fault.Field{Path: path, Problem: "has a field that this version of Weft does not know; leave it out or upgrade"})
	})
	return fault.InvalidFields(fmt.Sprintf("%s %q", kind, key), fields)
}

// walk calls report with the path of every message that holds unknown fields.
func walk(m protoreflect.Message, path string, report func(path string)) {
	if len(m.GetUnknown()) > 0 {
		report(path)
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		at := strings.TrimPrefix(path+"."+field.JSONName(), ".")
		switch {
		case field.IsMap() || field.Message() == nil: // our maps hold strings
		case field.IsList():
			for i := range value.List().Len() {
				walk(value.List().Get(i).Message(), fmt.Sprintf("%s[%d]", at, i), report)
			}
		default:
			walk(value.Message(), at, report)
		}
		return true
	})
}
