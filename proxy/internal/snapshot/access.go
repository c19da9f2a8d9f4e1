package snapshot

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/protobuf/reflect/protoreflect"

	configpb "github.com/weft-mesh/weft/gen/weft/config/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/internal/match"
	"github.com/weft-mesh/weft/proxy/internal/table"
)

// decodeAccess refuses whatever it does not know, anywhere in the resource: a condition that is skipped would widen access.
func decodeAccess(r *configpb.Resource, pb *configpb.Access) (*table.Access, error) {
	if path := unknown(r.ProtoReflect()); path != "" {
		return nil, fmt.Errorf("%s has a field that this sidecar does not know: it is older than the control plane", path)
	}
	a := &table.Access{Open: pb.GetOpen()}
	if pb.GetOpen() && len(pb.GetRules()) > 0 {
		return nil, errors.New("open and rules exclude each other")
	}
	for i, rule := range pb.GetRules() {
		decoded, err := decodeAccessRule(rule)
		if err != nil {
			return nil, fmt.Errorf("rules[%d] (%s): %w", i, rule.GetName(), err)
		}
		a.Rules = append(a.Rules, decoded)
	}
	return a, nil
}

func decodeAccessRule(pb *configpb.AccessRule) (table.AccessRule, error) {
	rule := table.AccessRule{Name: pb.GetName(), IDPrefixes: pb.GetIdPrefixes(), IDs: make(map[spiffeid.ID]struct{}, len(pb.GetIds()))}
	for i, text := range pb.GetIds() {
		id, err := spiffeid.FromString(text)
		if err != nil {
			return rule, fmt.Errorf("ids[%d]: %q: %w", i, text, err)
		}
		rule.IDs[id] = struct{}{}
	}
	for i, prefix := range pb.GetIdPrefixes() {
		if !strings.HasPrefix(prefix, "spiffe://") || !strings.HasSuffix(prefix, "/") {
			return rule, fmt.Errorf("id_prefixes[%d]: %q does not begin with \"spiffe://\" and end with \"/\"", i, prefix)
		}
	}
	matches, err := decodeMatches(pb.GetMatches())
	rule.Matches = matches
	return rule, err
}

func decodeMatches(pbs []*configpb.Match) ([]match.HTTP, error) {
	var out []match.HTTP
	for i, pb := range pbs {
		m, err := decodeMatch(pb)
		if err != nil {
			return nil, fmt.Errorf("matches[%d]: %w", i, err)
		}
		out = append(out, m)
	}
	return out, nil
}

func decodeMatch(pb *configpb.Match) (match.HTTP, error) {
	m := match.HTTP{Methods: pb.GetMethods()}
	var err error
	if pb.GetPath() != nil {
		if m.Path, err = decodePath(pb.GetPath()); err != nil {
			return m, fmt.Errorf("path: %w", err)
		}
	}
	for i, h := range pb.GetHeaders() {
		header, err := decodeHeader(h)
		if err != nil {
			return m, fmt.Errorf("headers[%d]: %w", i, err)
		}
		m.Headers = append(m.Headers, header)
	}
	return m, nil
}

func decodePath(pb *typepb.PathMatch) (match.String, error) {
	switch kind := pb.GetKind().(type) {
	case *typepb.PathMatch_Exact:
		return match.Exact(kind.Exact), nil
	case *typepb.PathMatch_Prefix:
		return match.PathPrefix(kind.Prefix), nil
	case *typepb.PathMatch_Regex:
		return match.Regex(kind.Regex)
	default:
		return match.String{}, errors.New("no way to compare that this sidecar knows")
	}
}

func decodeHeader(pb *typepb.HeaderMatch) (match.Header, error) {
	h := match.Header{Name: strings.ToLower(pb.GetName())}
	if h.Name == "" {
		return h, errors.New("no name")
	}
	var err error
	switch kind := pb.GetKind().(type) {
	case *typepb.HeaderMatch_Exact:
		h.Value = match.Exact(kind.Exact)
	case *typepb.HeaderMatch_Prefix:
		h.Value = match.Prefix(kind.Prefix)
	case *typepb.HeaderMatch_Regex:
		h.Value, err = match.Regex(kind.Regex)
	case *typepb.HeaderMatch_Present:
		h.Absent = !kind.Present
	default:
		err = errors.New("no way to compare that this sidecar knows")
	}
	if err != nil {
		return h, fmt.Errorf("%q: %w", pb.GetName(), err)
	}
	return h, nil
}

// unknown finds a message with fields that this program was not built with and returns its full name, or nothing.
func unknown(m protoreflect.Message) string {
	if len(m.GetUnknown()) > 0 {
		return string(m.Descriptor().FullName())
	}
	found := ""
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		found = unknownIn(field, value)
		return found == ""
	})
	return found
}

func unknownIn(field protoreflect.FieldDescriptor, value protoreflect.Value) string {
	switch {
	case field.IsMap():
		found := ""
		if field.MapValue().Message() == nil {
			return ""
		}
		value.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
			found = unknown(v.Message())
			return found == ""
		})
		return found
	case field.Message() == nil:
		return ""
	case field.IsList():
		for i := range value.List().Len() {
			if found := unknown(value.List().Get(i).Message()); found != "" {
				return found
			}
		}
		return ""
	default:
		return unknown(value.Message())
	}
}
