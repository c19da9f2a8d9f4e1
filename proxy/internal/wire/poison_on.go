//go:build weftpoison

package wire

import "sync/atomic"

// Poison fills what was released, so that whoever still looks at it sees nonsense.
const Poison = 0xDB

// poison finds buffers that are used after they were given back: with the build tag weftpoison.
type poison struct {
	released atomic.Bool
}

func (b *Buffer) got() { b.released.Store(false) }

// gone spoils the content. It panics for a buffer that was given back already: two owners would write to it.
func (b *Buffer) gone() {
	if b.released.Swap(true) {
		panic("wire: a buffer is released twice")
	}
	for i := range b.B {
		b.B[i] = Poison
	}
}
