//go:build !weftpoison

package wire

// poison is nothing in a regular build: see poison_on.go.
type poison struct{}

func (poison) got() {}

func (poison) gone([]byte) {}
