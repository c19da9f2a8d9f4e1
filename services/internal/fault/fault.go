// Package fault is the one vocabulary of errors of the control plane. Code returns faults; package rpc turns a fault's kind
// into a gRPC status once, and the gateway that status into an HTTP problem.
package fault

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what sort of thing went wrong.
type Kind uint8

// The kinds. The zero value is Internal, so that an error nobody classified is never mistaken for the caller's.
const (
	Internal    Kind = iota // a bug or a broken invariant
	Invalid                 // the input breaks a rule; Fields say which
	NotFound                // the named object does not exist
	Exists                  // there is an object of that name already
	Conflict                // the object has changed since the caller read it
	Denied                  // the caller is known and may not
	Anonymous               // the caller is not known
	Unavailable             // try again, here or at another replica
	Exhausted               // the caller asks too much; RetryAfter says when to try again
)

// Field is one broken rule of an input.
type Field struct {
	// Path of the field, for example "spec.rules[0].backends[1].weight".
	Path string
	// Problem says what is wrong and what is allowed.
	Problem string
}

// Error is a fault.
type Error struct {
	Kind   Kind
	Text   string
	Fields []Field
	// RetryAfter is how long the caller should wait; with Exhausted only.
	RetryAfter time.Duration
	cause      error
}

// Error is the text, the fields and the cause, in that order.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Text)
	for i, f := range e.Fields {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(f.Path + ": " + f.Problem)
	}
	if e.cause != nil {
		b.WriteString(": " + e.cause.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// New makes a fault without a cause.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// Wrap makes a fault of a cause.
func Wrap(kind Kind, cause error, format string, args ...any) *Error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...), cause: cause}
}

// InvalidFields makes an Invalid fault about an object, or returns nil when there are no fields.
func InvalidFields(object string, fields []Field) error {
	if len(fields) == 0 {
		return nil
	}
	return &Error{Kind: Invalid, Text: object + " is invalid", Fields: fields}
}

// KindOf returns the kind of the first fault in err's chain, or Internal.
func KindOf(err error) Kind {
	var f *Error
	if errors.As(err, &f) {
		return f.Kind
	}
	return Internal
}

// Is reports whether err is a fault of this kind.
func Is(err error, kind Kind) bool {
	var f *Error
	return errors.As(err, &f) && f.Kind == kind
}
