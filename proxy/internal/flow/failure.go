package flow

import (
	"errors"
	"fmt"
	"strings"
)

// Failure is an error of the proxy's own making with the reason that it has on every surface.
type Failure struct {
	Reason Reason
	Err    error
}

// Fail makes a Failure.
func Fail(reason Reason, err error) error { return &Failure{Reason: reason, Err: err} }

// Error is the reason and its cause.
func (f *Failure) Error() string {
	if f.Err == nil {
		return f.Reason.String()
	}
	return fmt.Sprintf("%s: %v", f.Reason, f.Err)
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// ReasonOf takes the reason out of an error; an error without one has the fallback.
func ReasonOf(err error, fallback Reason) Reason {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Reason
	}
	return fallback
}

// String is how the weft-error header names a hop.
func (d Direction) String() string {
	if d == Inbound {
		return "inbound"
	}
	return "outbound"
}

// AppendErrorHeader appends the value of the weft-error header.
func AppendErrorHeader(dst []byte, hop Direction, reason Reason, requestID string) []byte {
	dst = append(dst, "hop="...)
	dst = append(dst, hop.String()...)
	dst = append(dst, ", reason="...)
	dst = append(dst, reason.String()...)
	dst = append(dst, ", id="...)
	return append(dst, requestID...)
}

// ParseErrorHeader reads hop and reason of a weft-error header; ok is false for what no proxy of the mesh has written.
func ParseErrorHeader(value string) (hop Direction, reason Reason, ok bool) {
	rest, ok := strings.CutPrefix(value, "hop=")
	where, rest, found := strings.Cut(rest, ", reason=")
	name, _, _ := strings.Cut(rest, ",")
	switch {
	case !ok || !found || name == "":
		return 0, None, false
	case where == Inbound.String():
		hop = Inbound
	case where != Outbound.String():
		return 0, None, false
	}
	if reason, ok = ReasonNamed(name); !ok {
		return 0, None, false
	}
	return hop, reason, true
}
