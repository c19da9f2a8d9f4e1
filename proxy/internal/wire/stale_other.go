//go:build !unix

package wire

// Stale says whether an idle connection is of no use. Without a way to look, the next write or read tells.
func (c *Conn) Stale() bool { return c.buf != nil }
