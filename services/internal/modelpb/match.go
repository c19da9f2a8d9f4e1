package modelpb

import (
	policypb "github.com/weft-mesh/weft/gen/weft/policy/v1alpha1"
	typepb "github.com/weft-mesh/weft/gen/weft/type/v1alpha1"
	"github.com/weft-mesh/weft/services/internal/model"
)

func (d *decoder) matches(path string, in []*policypb.HttpMatch) []model.HTTPMatch {
	var out []model.HTTPMatch
	for i, p := range in {
		at := index(path, i)
		m := model.HTTPMatch{Path: d.path(at+".path", p.GetPath()), Methods: texts(p.GetMethods())}
		for j, h := range p.GetHeaders() {
			m.Headers = append(m.Headers, d.header(index(at+".headers", j), h))
		}
		out = append(out, m)
	}
	return out
}

func (d *decoder) path(path string, p *typepb.PathMatch) *model.StringMatch {
	if p == nil {
		return nil
	}
	switch kind := p.GetKind().(type) {
	case *typepb.PathMatch_Exact:
		return &model.StringMatch{Kind: model.MatchExact, Value: kind.Exact}
	case *typepb.PathMatch_Prefix:
		return &model.StringMatch{Kind: model.MatchPrefix, Value: kind.Prefix}
	case *typepb.PathMatch_Regex:
		return &model.StringMatch{Kind: model.MatchRegex, Value: kind.Regex}
	default:
		d.add(path, "needs one of exact, prefix and regex")
		return nil
	}
}

func (d *decoder) header(path string, p *typepb.HeaderMatch) model.HeaderMatch {
	m := model.HeaderMatch{Name: p.GetName()}
	switch kind := p.GetKind().(type) {
	case *typepb.HeaderMatch_Exact:
		m.StringMatch = model.StringMatch{Kind: model.MatchExact, Value: kind.Exact}
	case *typepb.HeaderMatch_Prefix:
		m.StringMatch = model.StringMatch{Kind: model.MatchPrefix, Value: kind.Prefix}
	case *typepb.HeaderMatch_Regex:
		m.StringMatch = model.StringMatch{Kind: model.MatchRegex, Value: kind.Regex}
	case *typepb.HeaderMatch_Present:
		m.Kind = model.MatchAbsent
		if kind.Present {
			m.Kind = model.MatchPresent
		}
	default:
		d.add(path, "needs one of exact, prefix, regex and present")
	}
	return m
}

func matchesToProto(in []model.HTTPMatch) []*policypb.HttpMatch {
	var out []*policypb.HttpMatch
	for _, m := range in {
		p := &policypb.HttpMatch{Path: PathToProto(m.Path), Methods: texts(m.Methods)}
		for _, h := range m.Headers {
			p.Headers = append(p.Headers, HeaderToProto(h))
		}
		out = append(out, p)
	}
	return out
}

// PathToProto writes a condition on the path; nil is nil.
func PathToProto(m *model.StringMatch) *typepb.PathMatch {
	if m == nil {
		return nil
	}
	switch m.Kind {
	case model.MatchExact:
		return &typepb.PathMatch{Kind: &typepb.PathMatch_Exact{Exact: m.Value}}
	case model.MatchPrefix:
		return &typepb.PathMatch{Kind: &typepb.PathMatch_Prefix{Prefix: m.Value}}
	case model.MatchRegex:
		return &typepb.PathMatch{Kind: &typepb.PathMatch_Regex{Regex: m.Value}}
	default:
		return &typepb.PathMatch{}
	}
}

// HeaderToProto writes a condition on a header.
func HeaderToProto(m model.HeaderMatch) *typepb.HeaderMatch {
	p := &typepb.HeaderMatch{Name: m.Name}
	switch m.Kind {
	case model.MatchExact:
		p.Kind = &typepb.HeaderMatch_Exact{Exact: m.Value}
	case model.MatchPrefix:
		p.Kind = &typepb.HeaderMatch_Prefix{Prefix: m.Value}
	case model.MatchRegex:
		p.Kind = &typepb.HeaderMatch_Regex{Regex: m.Value}
	case model.MatchPresent, model.MatchAbsent:
		p.Kind = &typepb.HeaderMatch_Present{Present: m.Kind == model.MatchPresent}
	}
	return p
}
