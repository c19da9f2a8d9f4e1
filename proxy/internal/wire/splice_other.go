//go:build !linux || race || plainio

package wire

// CanSplice says whether Splice works between two connections.
func CanSplice(_, _ *Conn) bool { return false }

// Splice is not possible here.
func Splice(_, _ *Conn) (n int, dstErr, srcErr error) { return 0, nil, ErrNoPipe }
