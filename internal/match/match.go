// Package match decides whether a request fits a rule. It is pure and shared by both halves: the control plane validates
// rules with it, the sidecar evaluates them with it, so that what was accepted is what is enforced.
package match

import (
	"fmt"
	"regexp"
	"strings"
)

// Request is what a rule can look at. Implementations return views that are valid during the call only.
type Request interface {
	// Method is the request's method, as sent.
	Method() []byte
	// Path is the normalised path without query: what CleanPath makes of the target.
	Path() []byte
	// Header returns the value of a header by its lower-case name, several joined by ", ". ok is false when it is absent.
	Header(lowerName string) (value []byte, ok bool)
}

// HTTP is a set of conditions that must all hold; the zero value matches everything.
type HTTP struct {
	Path    String
	Methods []string
	Headers []Header
}

// Header is a condition on one header.
type Header struct {
	// Name in lower case.
	Name string
	// Value: the zero value means that the header must be there, whatever it says.
	Value String
	// Absent turns it round: the header must not be there.
	Absent bool
}

// String compares a string; the zero value matches everything. Make one with Exact, Prefix, PathPrefix or Regex.
type String struct {
	kind  kind
	text  string
	regex *regexp.Regexp
}

type kind uint8

const (
	anything kind = iota
	exact
	prefix
	pathPrefix
	regex
)

// Exact matches the whole string.
func Exact(text string) String { return String{kind: exact, text: text} }

// Prefix matches the beginning.
func Prefix(text string) String { return String{kind: prefix, text: text} }

// PathPrefix matches whole path segments: "/a" and "/a/" match "/a", "/a/" and "/a/b", not "/ab".
func PathPrefix(text string) String {
	return String{kind: pathPrefix, text: strings.TrimRight(text, "/")}
}

// Regex matches an RE2 expression against the whole string.
func Regex(expr string) (String, error) {
	// By itself first: "a)|(b" would be an expression inside the group, though it is none.
	_, err := regexp.Compile(expr)
	var re *regexp.Regexp
	if err == nil {
		re, err = regexp.Compile(`\A(?:` + expr + `)\z`)
	}
	if err != nil {
		return String{}, fmt.Errorf("regular expression %q: %w", expr, err)
	}
	return String{kind: regex, text: expr, regex: re}, nil
}

// Match compares without allocating.
func (s String) Match(value []byte) bool {
	switch s.kind {
	case anything:
		return true
	case exact:
		return string(value) == s.text
	case prefix:
		return len(value) >= len(s.text) && string(value[:len(s.text)]) == s.text
	case pathPrefix:
		n := len(s.text)
		return len(value) >= n && string(value[:n]) == s.text && (len(value) == n || value[n] == '/')
	default:
		return s.regex.Match(value)
	}
}

// Matches says whether the request fits.
func (h *HTTP) Matches(r Request) bool {
	if len(h.Methods) > 0 && !contains(h.Methods, r.Method()) {
		return false
	}
	if h.Path.kind != anything && !h.Path.Match(r.Path()) {
		return false
	}
	for i := range h.Headers {
		cond := &h.Headers[i]
		value, ok := r.Header(cond.Name)
		if ok == cond.Absent || ok && !cond.Value.Match(value) {
			return false
		}
	}
	return true
}

// Any says whether one of several sets of conditions fits; none means that everything does.
func Any(sets []HTTP, r Request) bool {
	for i := range sets {
		if sets[i].Matches(r) {
			return true
		}
	}
	return len(sets) == 0
}

func contains(methods []string, method []byte) bool {
	for _, m := range methods {
		if m == string(method) {
			return true
		}
	}
	return false
}
