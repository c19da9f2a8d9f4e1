package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestErrorSaysEverything(t *testing.T) {
	err := &Error{Kind: Invalid, Text: `route "a" is invalid`, Fields: []Field{{"spec.x", "must be 1"}, {"spec.y", "must be 2"}}}
	if want := `route "a" is invalid: spec.x: must be 1; spec.y: must be 2`; err.Error() != want {
		t.Errorf("Error() = %q, want %q", err, want)
	}
	wrapped := Wrap(Unavailable, io.EOF, "read %q", "a")
	if want := `read "a": EOF`; wrapped.Error() != want || !errors.Is(wrapped, io.EOF) {
		t.Errorf("Error() = %q, want %q with its cause", wrapped, want)
	}
}

func TestKindOf(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want Kind
	}{
		{New(NotFound, "x"), NotFound},
		{fmt.Errorf("get: %w", New(Conflict, "x")), Conflict},
		{errors.Join(io.EOF, New(Denied, "x")), Denied},
		{io.EOF, Internal},
	} {
		if got := KindOf(tc.err); got != tc.want {
			t.Errorf("KindOf(%v) = %d, want %d", tc.err, got, tc.want)
		}
		if Is(tc.err, tc.want) != (tc.want != Internal) {
			t.Errorf("Is(%v, %d) = %v: what nobody classified is no fault", tc.err, tc.want, tc.want == Internal)
		}
	}
	if InvalidFields("route", nil) != nil {
		t.Error("no broken field is no fault")
	}
}
