package wire

import "errors"

// ErrNoPipe says that bytes cannot be moved by the kernel just now: nothing was taken, copy them.
var ErrNoPipe = errors.New("no pipe to splice through")
