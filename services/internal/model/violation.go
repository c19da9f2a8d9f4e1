package model

import "fmt"

// Violation is one broken rule of an object. It has the shape of a fault.Field, so that one converts into the other.
type Violation struct {
	// Path of the field as in a manifest, for example "spec.rules[0].backends[1].weight".
	Path string
	// Problem says what is wrong and what is allowed.
	Problem string
}

// violations collects broken rules in the order of the object's fields.
type violations []Violation

func (v *violations) add(path, format string, args ...any) {
	*v = append(*v, Violation{Path: path, Problem: fmt.Sprintf(format, args...)})
}

func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
