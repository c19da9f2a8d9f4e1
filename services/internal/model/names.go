package model

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of names and labels. Those of labels are what Kubernetes accepts, so that labels travel both ways.
const (
	maxName       = 63
	maxLabelKey   = 317
	maxLabelValue = 63
	maxFreeValue  = 1024
	maxLabels     = 64
)

const labelRule = "must be a lower-case RFC 1123 label: at most 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit"

// IsLabel says whether a name is a lower-case RFC 1123 label.
func IsLabel(s string) bool {
	if s == "" || len(s) > maxName || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isDigit(c) && c != '-' {
			return false
		}
	}
	return true
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isToken says whether s is a token of RFC 9110, section 5.6.2: what a method or a header name is made of.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isLower(c) && !isUpper(c) && !isDigit(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isText says whether s can stand in a header or a path: UTF-8 without control characters.
func isText(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

func (v *violations) label(path, name string) {
	if name == "" {
		v.add(path, "is missing; it %s", labelRule)
	} else if !IsLabel(name) {
		v.add(path, "%q %s", clip(name), labelRule)
	}
}

// meta checks what every object has.
func (v *violations) meta(m *Meta) {
	v.label("metadata.name", m.Name)
	v.label("metadata.namespace", m.Namespace)
	if len(m.Labels) > maxLabels {
		v.add("metadata.labels", "has %d labels; at most %d are allowed", len(m.Labels), maxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(m.Labels)) {
		path := "metadata.labels[" + clip(key) + "]"
		v.labelKey(path, key)
		if value := m.Labels[key]; len(value) > maxFreeValue || !utf8.ValidString(value) {
			v.add(path, "its value must be UTF-8 of at most %d bytes", maxFreeValue)
		}
	}
}

// selectable checks labels that backends select on.
func (v *violations) selectable(path string, labels map[string]string) {
	if len(labels) > maxLabels {
		v.add(path, "has %d labels; at most %d are allowed", len(labels), maxLabels)
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		at := path + "[" + clip(key) + "]"
		v.labelKey(at, key)
		if value := labels[key]; len(value) > maxLabelValue || !isLabelText(value, "-_.") {
			v.add(at, "value %q must be at most %d of letters, digits, '-', '_' and '.'", clip(value), maxLabelValue)
		}
	}
}

func (v *violations) labelKey(path, key string) {
	if key == "" || len(key) > maxLabelKey || !isLabelText(key, "-_./") {
		v.add(path, "label key %q must be 1 to %d of letters, digits, '-', '_', '.' and '/'", clip(key), maxLabelKey)
	}
}

func isLabelText(s, extra string) bool {
	for i := range len(s) {
		c := s[i]
		if !isLower(c) && !isUpper(c) && !isDigit(c) && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return true
}

// clip keeps messages readable when the input is not.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}
