package manifest

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weft-mesh/weft/services/internal/fault"
)

// checker turns what people write into the JSON form of messages and collects what is wrong on the way, with paths.
type checker struct {
	problems []fault.Field
}

func (c *checker) add(path, format string, args ...any) {
	if path == "" {
		path = "object"
	}
	c.problems = append(c.problems, fault.Field{Path: path, Problem: fmt.Sprintf(format, args...)})
}

func (c *checker) message(path string, d protoreflect.MessageDescriptor, value any) map[string]any {
	in, ok := value.(map[string]any)
	if !ok {
		c.add(path, "is %s; must be an object with %s", show(value), names(d))
		return nil
	}
	out := map[string]any{}
	chosen := map[protoreflect.Name]string{}
	for _, key := range sortedKeys(in) {
		at := strings.TrimPrefix(path+"."+key, ".")
		field := fieldByName(d, key)
		if field == nil {
			c.add(at, "is not known here; allowed: %s", names(d))
			continue
		}
		if one := field.ContainingOneof(); one != nil && !one.IsSynthetic() {
			if other := chosen[one.Name()]; other != "" {
				c.add(at, "cannot be combined with %s; exactly one of them is allowed", other)
			}
			chosen[one.Name()] = key
		}
		if _, twice := out[field.JSONName()]; twice {
			c.add(at, "is given twice, in two spellings")
		}
		if in[key] == nil {
			c.add(at, "is empty; give a value or leave it out")
			continue
		}
		out[field.JSONName()] = c.field(at, field, in[key])
	}
	return out
}

func (c *checker) field(path string, field protoreflect.FieldDescriptor, value any) any {
	switch {
	case field.IsMap():
		return c.labels(path, value)
	case field.IsList():
		list, ok := value.([]any)
		if !ok {
			c.add(path, "is %s; must be a list", show(value))
			return nil
		}
		out := []any{}
		for i, item := range list {
			out = append(out, c.single(fmt.Sprintf("%s[%d]", path, i), field, item))
		}
		return out
	default:
		return c.single(path, field, value)
	}
}

// labels is the only kind of map that there is: text by text.
func (c *checker) labels(path string, value any) any {
	in, ok := value.(map[string]any)
	if !ok {
		c.add(path, "is %s; must be an object of names and texts", show(value))
		return nil
	}
	out := map[string]any{}
	for _, key := range sortedKeys(in) {
		out[key] = c.text(path+"["+key+"]", in[key])
	}
	return out
}

func (c *checker) single(path string, field protoreflect.FieldDescriptor, value any) any {
	switch field.Kind() {
	case protoreflect.StringKind:
		return c.text(path, value)
	case protoreflect.BoolKind:
		if _, ok := value.(bool); !ok {
			c.add(path, "is %s; must be true or false", show(value))
		}
		return value
	case protoreflect.Uint32Kind:
		return c.number(path, value)
	case protoreflect.EnumKind:
		return c.enum(path, field.Enum(), value)
	case protoreflect.MessageKind:
		switch field.Message().FullName() {
		case "google.protobuf.Duration":
			return c.duration(path, value)
		case "google.protobuf.Timestamp":
			return c.moment(path, value)
		}
		return c.message(path, field.Message(), value)
	default:
		c.add(path, "cannot be written in a manifest")
		return nil
	}
}

func (c *checker) text(path string, value any) any {
	if _, ok := value.(string); !ok {
		c.add(path, "is %s; must be text, in quotes where YAML would take it for something else", show(value))
	}
	return value
}

func (c *checker) number(path string, value any) any {
	n, ok := value.(int)
	if !ok || n < 0 || n > math.MaxUint32 {
		c.add(path, "is %s; must be a whole number from 0 to %d", show(value), uint32(math.MaxUint32))
	}
	return n
}

func (c *checker) enum(path string, d protoreflect.EnumDescriptor, value any) any {
	name, _ := value.(string)
	prefix := enumPrefix(d)
	var allowed []string
	for i := range d.Values().Len() {
		v := d.Values().Get(i)
		if v.Number() == 0 {
			continue // the zero value means "not set": leave the field out
		}
		full := string(v.Name())
		short := strings.ToLower(strings.TrimPrefix(full, prefix))
		if strings.EqualFold(name, short) || strings.EqualFold(name, full) {
			return full
		}
		allowed = append(allowed, short)
	}
	c.add(path, "is %s; must be one of %s", show(value), strings.Join(allowed, ", "))
	return nil
}

func (c *checker) duration(path string, value any) any {
	text, _ := value.(string)
	d, err := time.ParseDuration(text)
	if err != nil {
		c.add(path, "is %s; must be a duration, for example 5s or 1m30s", show(value))
		return nil
	}
	return formatDuration(d)
}

func (c *checker) moment(path string, value any) any {
	switch v := value.(type) {
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case string:
		if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
	}
	c.add(path, "is %s; must be a time as in RFC 3339", show(value))
	return nil
}

// fieldByName finds a field by either of its spellings, targetPort or target_port.
func fieldByName(d protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if f := d.Fields().ByJSONName(name); f != nil {
		return f
	}
	return d.Fields().ByName(protoreflect.Name(name))
}

func names(d protoreflect.MessageDescriptor) string {
	var out []string
	for i := range d.Fields().Len() {
		out = append(out, d.Fields().Get(i).JSONName())
	}
	return strings.Join(out, ", ")
}

// enumPrefix is what all values of an enum begin with: that of the zero value without UNSPECIFIED.
func enumPrefix(d protoreflect.EnumDescriptor) string {
	return strings.TrimSuffix(string(d.Values().ByNumber(0).Name()), "UNSPECIFIED")
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// formatDuration is the JSON form of a duration: seconds with as many decimals as it takes.
func formatDuration(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
}

// show names a value in a message, shortly.
func show(value any) string {
	switch v := value.(type) {
	case nil:
		return "empty"
	case string:
		return strconv.Quote(cut(v))
	case map[string]any, map[any]any:
		return "an object"
	case []any:
		return "a list"
	default:
		return cut(fmt.Sprint(v))
	}
}

func cut(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
