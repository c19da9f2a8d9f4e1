//go:build weftpoison

package wire

import "sync/atomic"

// Poison fills what was released, so that whoever still looks at it sees nonsense.
const Poison = 0xDB

// poison finds buffers that are used after they were given back: with the build tag weftpoison.
type poison struct {
	released atomic.Bool
}

func (p *poison) got() { p.released.Store(false) }

// gone spoils the content. It panics for a buffer that was given back already: two owners would write to it.
func (p *poison) gone(content []byte) {
	if p.released.Swap(true) {
		panic("wire: a buffer is released twice")
	}
	for i := range content {
		content[i] = Poison
	}
}
