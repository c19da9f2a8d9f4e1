package model

import (
	"regexp"
	"strings"

	"github.com/weft-mesh/weft/internal/match"
)

const (
	maxMatchText = 1024
	maxMethods   = 32
)

func (v *violations) matches(path string, sets []HTTPMatch) {
	for i := range sets {
		v.match(index(path, i), &sets[i])
	}
}

func (v *violations) match(path string, m *HTTPMatch) {
	if m.Path != nil {
		v.path(path+".path", m.Path)
	}
	if len(m.Methods) > maxMethods {
		v.add(path+".methods", "has %d methods; at most %d are allowed", len(m.Methods), maxMethods)
	}
	for i, method := range m.Methods {
		if !isToken(method) || method != strings.ToUpper(method) {
			v.add(index(path+".methods", i), "%q must be a method in upper case, for example GET", clip(method))
		}
	}
	for i, h := range m.Headers {
		v.header(index(path+".headers", i), h)
	}
}

func (v *violations) path(path string, m *StringMatch) {
	switch m.Kind {
	case MatchExact:
		v.plainPath(path+".exact", m.Value)
	case MatchPrefix:
		v.plainPath(path+".prefix", m.Value)
	case MatchRegex:
		v.regex(path+".regex", m.Value)
	default:
		v.add(path, "needs one of exact, prefix and regex")
	}
}

// plainPath refuses what no normalised path can equal: such a rule would silently never match.
func (v *violations) plainPath(path, value string) {
	dotted := value + "/"
	switch {
	case !strings.HasPrefix(value, "/"):
		v.add(path, "%q must begin with /", clip(value))
	case len(value) > maxMatchText || !isText(value):
		v.add(path, "must be text of at most %d bytes without control characters", maxMatchText)
	case strings.ContainsAny(value, "?#"):
		v.add(path, "%q must be a path only, without ? or #", clip(value))
	case strings.Contains(value, "//") || strings.Contains(dotted, "/./") || strings.Contains(dotted, "/../"):
		v.add(path, "%q must be normalised: paths are compared without //, /. and /..", clip(value))
	}
}

func (v *violations) header(path string, h HeaderMatch) {
	if !isToken(h.Name) || len(h.Name) > 256 {
		v.add(path+".name", "%q must be a header name of at most 256 letters, digits and any of !#$%%&'*+-.^_`|~", clip(h.Name))
	}
	switch h.Kind {
	case MatchExact, MatchPrefix:
		if len(h.Value) > maxMatchText || !isText(h.Value) {
			v.add(path+"."+h.Kind.String(), "must be text of at most %d bytes without control characters", maxMatchText)
		}
	case MatchRegex:
		v.regex(path+".regex", h.Value)
	case MatchPresent, MatchAbsent:
	default:
		v.add(path, "needs one of exact, prefix, regex and present")
	}
}

// regex compiles the expression on its own first: inside the anchors that package match puts around it, one with unbalanced
// parentheses such as "a)|(b" would compile and mean something else.
func (v *violations) regex(path, expr string) {
	if len(expr) > maxMatchText {
		v.add(path, "is too long; at most %d bytes are allowed", maxMatchText)
		return
	}
	_, err := regexp.Compile(expr)
	if err == nil {
		_, err = match.Regex(expr)
	}
	if err != nil {
		v.add(path, "%q is not an RE2 regular expression: %s", clip(expr), clip(err.Error()))
	}
}
