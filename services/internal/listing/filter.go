package listing

import (
	"context"
	"fmt"

	"cel.dev/cel-go/cel"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/fault"
)

const (
	// maxFilter bounds an expression, in bytes.
	maxFilter = 1024
	// maxCost bounds what one object's evaluation may cost, in CEL's own unit (about one for each operation).
	maxCost = 10_000
)

// Filter is a condition on objects of one kind, in the Common Expression Language: name, ns (the namespace, which is a reserved
// word there) and labels are the object's, and object is all of it, with the field names of its JSON form. The zero value lets
// everything pass.
type Filter struct {
	program cel.Program
}

// NewFilter compiles an expression for a kind of message; an empty one lets everything pass. What does not compile, or is no
// condition, is an Invalid fault of the field "filter".
func NewFilter(expression string, kind proto.Message) (Filter, error) {
	if expression == "" {
		return Filter{}, nil
	}
	if len(expression) > maxFilter {
		return Filter{}, badFilter("has %d bytes; at most %d are allowed", len(expression), maxFilter)
	}
	env, err := cel.NewEnv(
		cel.Types(kind), cel.JSONFieldNames(true),
		cel.Variable("name", cel.StringType), cel.Variable("ns", cel.StringType),
		cel.Variable("labels", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("object", cel.ObjectType(string(kind.ProtoReflect().Descriptor().FullName()))),
	)
	if err != nil {
		return Filter{}, fmt.Errorf("prepare filter of %s: %w", kind.ProtoReflect().Descriptor().Name(), err)
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return Filter{}, badFilter("is no expression over name, ns, labels and object: %v", issues.Err())
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return Filter{}, badFilter("gives %s; a filter is true or false", ast.OutputType())
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return Filter{}, badFilter("cannot be evaluated: %v", err)
	}
	return Filter{program: program}, nil
}

// Match says whether an object passes. An expression that fails on an object (a label that it does not have, for example) does
// not let it pass: that is what its author means by labels["team"] == "shop". One that costs too much is an Invalid fault.
func (f Filter) Match(ctx context.Context, object proto.Message) (bool, error) {
	if f.program == nil {
		return true, nil
	}
	name, namespace, labels := subject(object.ProtoReflect())
	if labels == nil {
		labels = map[string]string{}
	}
	out, details, err := f.program.ContextEval(ctx, map[string]any{"name": name, "ns": namespace, "labels": labels, "object": object})
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil && details != nil && details.ActualCost() != nil && *details.ActualCost() >= maxCost:
		return false, badFilter("is too costly; make it simpler")
	case err != nil:
		return false, nil
	}
	pass, ok := out.Value().(bool)
	return ok && pass, nil
}

// subject finds what every object has; a message without metadata is named by its id.
func subject(m protoreflect.Message) (name, namespace string, labels map[string]string) {
	fields := m.Descriptor().Fields()
	if f := fields.ByName("metadata"); f != nil {
		if meta, ok := m.Get(f).Message().Interface().(*typepb.ObjectMeta); ok {
			return meta.GetName(), meta.GetNamespace(), meta.GetLabels()
		}
	}
	if f := fields.ByName("id"); f != nil && f.Kind() == protoreflect.StringKind {
		return m.Get(f).String(), "", nil
	}
	return "", "", nil
}

func badFilter(format string, args ...any) error {
	return fault.InvalidFields("request", []fault.Field{{Path: "filter", Problem: fmt.Sprintf(format, args...)}})
}
