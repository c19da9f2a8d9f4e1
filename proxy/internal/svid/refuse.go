package svid

import (
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/proxy/internal/statedir"
)

// refused says why the sidecar cannot start from what is stored, and what to do about it.
func refused(dir *statedir.Dir, err error) error {
	const token = "get a new token with `weft token join`, or start the program with `weft run`, which does"
	advice := token
	switch {
	case errors.Is(err, ErrForeign):
		advice = "give this sidecar a --state-dir of its own, or " + token
	case errors.Is(err, ErrExpired):
		advice = "identity renews no SVID that has run out: " + token
	case errors.Is(err, statedir.ErrExposed):
		advice = "a key that others may know must not be used: " + token
	}
	return fmt.Errorf("no join token is given, and state directory %q cannot be started from: %w: %s", dir.Path(""), err, advice)
}
